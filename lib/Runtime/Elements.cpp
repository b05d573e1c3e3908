// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Elements.h"
#include "llvm/ADT/APFloat.h"
#include <cassert>

using namespace nag::runtime;

bool nag::runtime::isFloat(DType dtype) {
  return dtype == DType::F64 || dtype == DType::F32 || dtype == DType::F16 ||
         dtype == DType::BF16;
}

static const llvm::fltSemantics &getHalfSemantics(DType dtype) {
  assert((dtype == DType::F16 || dtype == DType::BF16) && "not a float type");
  return dtype == DType::BF16 ? llvm::APFloat::BFloat()
                              : llvm::APFloat::IEEEhalf();
}

double nag::runtime::detail::readHalf(DType dtype, const void *buffer,
                                      int64_t index) {
  llvm::APInt bits(16, static_cast<const uint16_t *>(buffer)[index]);
  return llvm::APFloat(getHalfSemantics(dtype), bits).convertToDouble();
}

void nag::runtime::detail::writeHalf(DType dtype, void *buffer, int64_t index,
                                     double value) {
  llvm::APFloat rounded(value);
  bool losesInformation;
  rounded.convert(getHalfSemantics(dtype), llvm::APFloat::rmNearestTiesToEven,
                  &losesInformation);
  static_cast<uint16_t *>(buffer)[index] =
      rounded.bitcastToAPInt().getZExtValue();
}
