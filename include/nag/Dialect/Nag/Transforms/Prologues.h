// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops that a product computes of an operand's elements as it loads
// them, so that the tensor that they make is not in memory.
#ifndef NAG_DIALECT_NAG_TRANSFORMS_PROLOGUES_H
#define NAG_DIALECT_NAG_TRANSFORMS_PROLOGUES_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/SetVector.h"

namespace nag {

/// Why a product cannot run `op` as it loads single elements; empty where it
/// can: the op makes one tensor, of the elements in the same places of one
/// other and of scalars that all rows share or that each row has.
llvm::StringRef getPrologueObstacle(RowwiseOpInterface op);

/// What is computed of an operand as it is loaded.
struct Prologue {
  /// In program order; none where the operand is loaded as it is.
  llvm::SmallVector<RowwiseOpInterface> ops;
  /// The tensor of the operand's shape and type of which they compute it.
  mlir::Value source;
};

/// The ops that make `operand` element by element, as far as they go, and what
/// they start from. There are none where that has elements of another type:
/// those would change their size on the way.
Prologue findPrologue(mlir::Value operand);

/// The ops of a kernel that run as its products load their operands.
llvm::SetVector<mlir::Operation *> collectPrologues(mlir::Block &kernel);

/// The product of each op that runs as it loads an operand.
using PrologueMap = llvm::DenseMap<mlir::Operation *, mlir::Operation *>;

/// What the choice of prologues knows of the target.
struct PrologueOptions {
  /// How many columns of the other operand share one load of an element.
  int64_t tileColumns;
  bool remarks;
};

/// Gives products copies of their own of the ops that are to run as they load
/// their operands: where these read what is in memory anyway, where nothing but
/// products reads what they make, and where that takes less time than the
/// memory. The result knows these copies, and a nag.take that they read.
PrologueMap isolatePrologues(mlir::Block &block,
                             const PrologueOptions &options);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_PROLOGUES_H
