// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// One loop over the rows of a group of row-wise ops: loads their rows, inlines
// their row programs, puts their results into the destinations. RowChunks.cpp
// has the loops that also sum over rows.
#ifndef NAG_LIB_CONVERSION_NAGTOLINALG_ROWLOOP_H
#define NAG_LIB_CONVERSION_NAGTOLINALG_ROWLOOP_H

#include "nag/Conversion/RowGroup.h"

#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"

namespace nag {

/// A tensor that the loop computes.
struct Output : RowOutput {
  Output(RowOutput output) : RowOutput(std::move(output)) {}
  /// The tensor's destination in the shape of the loop.
  mlir::Value destination;
  /// The input that stands in the destination until its row is overwritten.
  std::optional<RowPart> overwritten;
};

class RowLoop {
public:
  RowLoop(mlir::RewriterBase &rewriterToUse, const RowGroup &rowGroup)
      : rewriter(rewriterToUse),
        builder(rowGroup.getOps().back()->getLoc(), rowGroup.getOps().back()),
        group(rowGroup), numRows(rowGroup.getNumRows()) {}

  mlir::LogicalResult lower();

private:
  // What the loop reads and writes.
  mlir::LogicalResult collectInputs();
  void collectOutputs();
  std::optional<RowPart> findOverwritten(mlir::Value result) const;

  // The loops; each returns one tensor per output, in the loop's shape.
  llvm::SmallVector<mlir::Value> emitSingleRow();
  llvm::SmallVector<mlir::Value> emitForall();
  llvm::SmallVector<mlir::Value> emitChunks();
  void emitChunk(mlir::Value chunk, int64_t chunks, mlir::ValueRange shared,
                 mlir::scf::InParallelOp terminator);
  std::pair<mlir::OpFoldResult, mlir::OpFoldResult>
  getChunkRows(mlir::Value chunk, int64_t chunks);
  llvm::SmallVector<mlir::Value> initializeChunk(mlir::Value chunk,
                                                 mlir::ValueRange shared,
                                                 mlir::OpFoldResult first,
                                                 mlir::OpFoldResult count);
  llvm::SmallVector<mlir::Value>
  emitChunkRow(mlir::Value row, mlir::Value index, mlir::ValueRange carried);
  llvm::SmallVector<mlir::Value> createPartials(int64_t chunks);
  mlir::Value addUp(mlir::Value partials, mlir::Value destination);

  // The work for one row.
  llvm::SmallVector<mlir::Value> emitRow(mlir::Value row,
                                         llvm::ArrayRef<mlir::Value> slices);
  mlir::Value load(RowPart part, mlir::Value row);
  mlir::Value loadIndexed(mlir::Value tensor, mlir::Value place);
  mlir::Value place(mlir::Value value, mlir::Value slice);
  mlir::Value slotOf(const Output &output, mlir::Value row);

  void replaceOps(llvm::ArrayRef<mlir::Value> results);

  mlir::RewriterBase &rewriter;
  mlir::ImplicitLocOpBuilder builder;
  const RowGroup &group;
  int64_t numRows;
  /// How many rows count, where that is known at run time only; else null.
  mlir::Value numLiveRows;
  /// Tensors from outside as [rows, d] or [rows].
  llvm::DenseMap<mlir::Value, mlir::Value> inputs;
  /// Tensors with rows of their own number, as [n, d] or [n].
  llvm::DenseMap<mlir::Value, mlir::Value> indexedInputs;
  llvm::SmallVector<Output> outputs;
};

} // namespace nag

#endif // NAG_LIB_CONVERSION_NAGTOLINALG_ROWLOOP_H
