// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What verifiers share. Every error starts with the constraint's label, then
// says what was expected and what was found.
#ifndef NAG_DIALECT_NAG_IR_VERIFY_H
#define NAG_DIALECT_NAG_IR_VERIFY_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag::verifier {

using namespace mlir;

inline RankedTensorType tensorType(Value value) {
  return cast<RankedTensorType>(value.getType());
}

inline LogicalResult expectType(Operation *op, StringRef label, StringRef name,
                                Type expected, Type actual) {
  if (expected == actual)
    return success();
  return op->emitOpError() << "(" << label << ") expected '" << name
                           << "' of type " << expected << ", but got "
                           << actual;
}

inline LogicalResult expectShape(Operation *op, StringRef label, StringRef name,
                                 ArrayRef<int64_t> expected, Value value) {
  RankedTensorType type = tensorType(value);
  return expectType(op, label, name,
                    RankedTensorType::get(expected, type.getElementType()),
                    type);
}

inline LogicalResult expectRank(Operation *op, StringRef label, StringRef name,
                                int64_t expected, Value value) {
  if (tensorType(value).getRank() == expected)
    return success();
  return op->emitOpError() << "(" << label << ") expected '" << name
                           << "' of rank " << expected << ", but got rank "
                           << tensorType(value).getRank();
}

inline LogicalResult expectTrue(Operation *op, StringRef label, bool holds,
                                const Twine &expected, const Twine &actual) {
  if (holds)
    return success();
  return op->emitOpError() << "(" << label << ") expected " << expected
                           << ", but got " << actual;
}

/// One scalar for each row of `like`, in its compute type.
inline RankedTensorType laneType(Value like) {
  RankedTensorType type = tensorType(like);
  return RankedTensorType::get(type.getShape().drop_back(),
                               getComputeType(type.getElementType()));
}

inline int64_t widthOf(Value value) {
  return tensorType(value).getShape().back();
}

inline LogicalResult verifyEps(Operation *op, StringRef label,
                               const APFloat &eps) {
  return expectTrue(op, label, !eps.isNegative() && eps.isFinite(),
                    "a finite 'eps' of 0 or more",
                    std::to_string(eps.convertToDouble()));
}

/// The gradient of a weight: of the operands' type `like`, or the f32 sum that
/// products of bf16 are.
inline LogicalResult verifyWeightGrad(Operation *op, StringRef label,
                                      Value like, Value grad) {
  Type element = tensorType(like).getElementType();
  RankedTensorType type = tensorType(grad);
  if (element.isBF16() && type.getElementType().isF32())
    return success();
  return expectType(op, label, "weight_grad", type.clone(element), type);
}

} // namespace nag::verifier

#endif // NAG_DIALECT_NAG_IR_VERIFY_H
