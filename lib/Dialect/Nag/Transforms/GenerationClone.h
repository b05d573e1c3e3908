// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// @logits with other shapes, and with the keys and values of its layers.
#ifndef NAG_LIB_DIALECT_NAG_TRANSFORMS_GENERATIONCLONE_H
#define NAG_LIB_DIALECT_NAG_TRANSFORMS_GENERATIONCLONE_H

#include "nag/Dialect/Nag/IR/NagGeneration.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

namespace nag {

/// Reading whole prompts, or one token per sequence.
enum class GenerationPhase { Prefill, Decode };

struct GenerationShape {
  int64_t batch = 1, prompt = 1, capacity = 1;
  /// Per layer, how many positions a token sees before its own at most.
  llvm::SmallVector<int64_t> reach;
  /// Positions of a layer that the caches hold at most.
  int64_t cacheRows = 0;
  /// Rows that the layers share per sequence, where keys are those of executed
  /// tokens; 0: every layer has `cacheRows` of its own.
  int64_t sharedRows = 0;
  /// Width and element type of keys and values.
  int64_t keyWidth = 0;
  mlir::Type keyType;

  int64_t countLayers() const { return reach.size(); }
  bool sharesRows() const { return sharedRows > 0; }
};

/// Adds @prefill or @decode behind `logits`, and the layer functions that it
/// calls. Errors say which op has no counterpart.
mlir::LogicalResult buildGenerationFunction(mlir::func::FuncOp logits,
                                            GenerationPhase phase,
                                            const GenerationShape &shape);

} // namespace nag

#endif // NAG_LIB_DIALECT_NAG_TRANSFORMS_GENERATIONCLONE_H
