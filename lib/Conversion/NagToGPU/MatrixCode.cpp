// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "MatrixCode.h"

#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nag;

/// A struct of `count` members of one type.
static Type getStruct(Type member, size_t count) {
  return LLVM::LLVMStructType::getLiteral(member.getContext(),
                                          SmallVector<Type>(count, member));
}

static SmallVector<Value> unpack(ImplicitLocOpBuilder &builder,
                                 Value aggregate) {
  SmallVector<Value> members;
  auto type = cast<LLVM::LLVMStructType>(aggregate.getType());
  for (int64_t index = 0, end = type.getBody().size(); index < end; ++index)
    members.push_back(LLVM::ExtractValueOp::create(builder, aggregate, index));
  return members;
}

SmallVector<Value> nag::loadMatrices(ImplicitLocOpBuilder &builder,
                                     Value pointer, bool transposed) {
  constexpr int64_t kCount = 4;
  auto layout = transposed ? NVVM::MMALayout::col : NVVM::MMALayout::row;
  auto shape = NVVM::LdStMatrixShapeAttr::get(builder.getContext(), 8, 8);
  Value matrices = NVVM::LdMatrixOp::create(
      builder, getStruct(builder.getI32Type(), kCount), pointer, kCount, layout,
      shape, NVVM::LdStMatrixEltType::B16);
  return unpack(builder, matrices);
}

void nag::multiplyAdd(ImplicitLocOpBuilder &builder, MatrixFactor factor,
                      ValueRange rows, ValueRange columns,
                      MutableArrayRef<Value> sums) {
  bool isBF16 = factor == MatrixFactor::BF16;
  auto type = isBF16 ? NVVM::MMATypes::bf16 : NVVM::MMATypes::tf32;
  Value result = NVVM::MmaOp::create(
      builder, getStruct(builder.getF32Type(), sums.size()), rows, columns,
      ValueRange(ArrayRef<Value>(sums)), {16, 8, isBF16 ? 16 : 8},
      /*b1Op=*/std::nullopt, /*intOverflow=*/std::nullopt,
      std::array{type, type},
      std::array{NVVM::MMALayout::row, NVVM::MMALayout::col});
  llvm::copy(unpack(builder, result), sums.begin());
}
