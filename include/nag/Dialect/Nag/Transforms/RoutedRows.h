// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// How many rows of the tensors of a function count, where that is known at run
// time only (nag.route).
#ifndef NAG_DIALECT_NAG_TRANSFORMS_ROUTEDROWS_H
#define NAG_DIALECT_NAG_TRANSFORMS_ROUTEDROWS_H

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "llvm/ADT/EquivalenceClasses.h"

namespace nag {

/// Follows the ties of getRowSpaces through a block.
class RoutedRows {
public:
  explicit RoutedRows(mlir::Block &block);

  /// The offsets that count the rows of `ops`, or null: all of them count, or
  /// the ops count them.
  mlir::Value findOffsets(llvm::ArrayRef<mlir::Operation *> ops) const;

private:
  mlir::Value findOffsets(mlir::Value value) const;

  llvm::EquivalenceClasses<const void *> classes;
  llvm::DenseMap<const void *, mlir::Value> offsetsOf;
};

/// Lets nag.put complete the tensor that nag.take took the rows from instead of
/// the rest: it puts those rows back anyway. A rest that others read is made by
/// nag.put of its own.
void dropRests(mlir::Block &block);

/// True for an elementwise op on scalars that only the dial of a nag.route
/// reads: the kernel that selects computes it.
bool isPartOfDial(mlir::Operation *op);

} // namespace nag

#endif // NAG_DIALECT_NAG_TRANSFORMS_ROUTEDROWS_H
