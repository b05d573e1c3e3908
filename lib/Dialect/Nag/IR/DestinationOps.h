// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the ops that write their results into operands share.
#ifndef NAG_LIB_DIALECT_NAG_IR_DESTINATIONOPS_H
#define NAG_LIB_DIALECT_NAG_IR_DESTINATIONOPS_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag::detail {

using Effects = llvm::SmallVectorImpl<
    mlir::SideEffects::EffectInstance<mlir::MemoryEffects::Effect>>;

void getDestinationEffects(mlir::DestinationStyleOpInterface op,
                           Effects &effects);
mlir::bufferization::AliasingValueList
getDestinationAliases(mlir::DestinationStyleOpInterface op,
                      mlir::OpOperand &operand);
mlir::LogicalResult
bufferizeDestinations(mlir::RewriterBase &rewriter,
                      mlir::DestinationStyleOpInterface op,
                      const mlir::bufferization::BufferizationOptions &options,
                      mlir::bufferization::BufferizationState &state);
/// Constraint C1: the shape of an operand.
mlir::LogicalResult expectShape(mlir::Operation *op, llvm::StringRef name,
                                llvm::ArrayRef<int64_t> expected,
                                mlir::Value value);
/// Constraint `label`: all tensors, or all buffers.
mlir::LogicalResult verifyForm(mlir::DestinationStyleOpInterface op,
                               llvm::StringRef label = "C2");

} // namespace nag::detail

/// The interface methods, the same for every op of the kind.
#define NAG_DESTINATION_OP(OpName)                                             \
  void OpName::getEffects(Effects &effects) {                                  \
    getDestinationEffects(*this, effects);                                     \
  }                                                                            \
  bool OpName::bufferizesToMemoryRead(OpOperand &operand,                      \
                                      const AnalysisState &) {                 \
    return !isDpsInit(&operand);                                               \
  }                                                                            \
  bool OpName::bufferizesToMemoryWrite(OpOperand &operand,                     \
                                       const AnalysisState &) {                \
    return isDpsInit(&operand);                                                \
  }                                                                            \
  AliasingValueList OpName::getAliasingValues(OpOperand &operand,              \
                                              const AnalysisState &) {         \
    return getDestinationAliases(*this, operand);                              \
  }                                                                            \
  LogicalResult OpName::bufferize(RewriterBase &rewriter,                      \
                                  const BufferizationOptions &options,         \
                                  BufferizationState &bufferState) {           \
    return bufferizeDestinations(rewriter, *this, options, bufferState);       \
  }

#endif // NAG_LIB_DIALECT_NAG_IR_DESTINATIONOPS_H
