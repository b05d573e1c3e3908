// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Elements.h"
#include "llvm/ADT/APFloat.h"
#include <cassert>
#include <cstring>

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

double nag::runtime::readElement(DType dtype, const void *buffer,
                                 int64_t index) {
  if (dtype == DType::F64)
    return static_cast<const double *>(buffer)[index];
  if (dtype == DType::F32)
    return static_cast<const float *>(buffer)[index];
  llvm::APInt bits(16, static_cast<const uint16_t *>(buffer)[index]);
  return llvm::APFloat(getHalfSemantics(dtype), bits).convertToDouble();
}

void nag::runtime::writeElement(DType dtype, void *buffer, int64_t index,
                                double value) {
  if (dtype == DType::F64) {
    static_cast<double *>(buffer)[index] = value;
    return;
  }
  if (dtype == DType::F32) {
    static_cast<float *>(buffer)[index] = float(value);
    return;
  }
  llvm::APFloat rounded(value);
  bool losesInformation;
  rounded.convert(getHalfSemantics(dtype), llvm::APFloat::rmNearestTiesToEven,
                  &losesInformation);
  static_cast<uint16_t *>(buffer)[index] =
      rounded.bitcastToAPInt().getZExtValue();
}
