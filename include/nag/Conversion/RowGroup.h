// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops that share one pass over their rows: which ops fit together,
// what they read and write, and the work of all of them for one row. The CPU's
// loop over rows and the GPU's thread code start from this.
#ifndef NAG_CONVERSION_ROWGROUP_H
#define NAG_CONVERSION_ROWGROUP_H

#include "nag/Interfaces/NagInterfaces.h"

#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/DenseMap.h"

namespace nag {

/// A tensor, or a part of a stream: 0 is its direction, 1 its log-norm.
using RowPart = std::pair<mlir::Value, unsigned>;

/// The tensor or the part of a stream that `tensor` is, seen through ops that
/// put streams together and take them apart.
RowPart resolveRowPart(mlir::Value tensor);
/// The same for part `index` of a stream.
RowPart resolveStreamPart(mlir::Value stream, unsigned index);

/// A tensor that a group reads row by row, as rows or lanes, or, in role
/// Indexed, in rows that an index names.
struct RowInputTensor {
  mlir::Value tensor;
  RowRole role;
};

/// A tensor that a group computes and others read.
struct RowOutput {
  RowPart part;
  RowRole role;
  mlir::RankedTensorType type;
  /// What the tensor stands for outside: the part itself or projections of a
  /// stream; empty where a stream leaves as a whole.
  llvm::SmallVector<mlir::Value> replaced;
  /// Of role Indexed: the lane that names its rows, and the tensor whose other
  /// rows it keeps.
  mlir::Value indices = nullptr, base = nullptr;

  bool isSum() const { return role == RowRole::Sum; }
};

/// The shape in which rows are run over: [rows, d] for a tensor of role Row,
/// [rows] for a lane; the tensor's own for a sum. An Indexed tensor [B, T, d]
/// has rows of its own, [B*T, d]; one of rank 2, [B, T], has lanes.
mlir::RankedTensorType getRowsType(mlir::RankedTensorType type, RowRole role,
                                   int64_t numRows);

/// Fails on operands and results without elements: rows of none have no loops.
mlir::LogicalResult verifyHasElements(mlir::Operation *op);

/// A run of row-wise ops of one block, in order, that can share one pass over
/// their rows.
class RowGroup {
public:
  RowGroup() = default;
  explicit RowGroup(llvm::ArrayRef<mlir::Operation *> grouped) : ops(grouped) {}

  /// True when `op`, which comes after the ops of the group, has as many rows
  /// and reads their results only as rows, lanes or streams.
  bool accepts(RowwiseOpInterface op) const;
  void add(mlir::Operation *op) { ops.push_back(op); }

  llvm::ArrayRef<mlir::Operation *> getOps() const { return ops; }
  int64_t getNumRows() const;
  bool contains(mlir::Operation *op) const {
    return llvm::is_contained(ops, op);
  }

  /// The tensors from outside that are read as rows or lanes, each once. Fails,
  /// with an error at the op, where one is a part of a stream.
  mlir::FailureOr<llvm::SmallVector<RowInputTensor>> collectInputs() const;
  /// The results that are read outside.
  llvm::SmallVector<RowOutput> collectOutputs() const;

  /// Where the group's rows come from: the row or the scalar of a part that is
  /// read from outside, and what stands for a tensor that all rows share (the
  /// scalar, where its rank is 0).
  struct Sources {
    llvm::function_ref<mlir::Value(RowPart)> getPart;
    llvm::function_ref<mlir::Value(mlir::Value)> getWhole;
    /// Of an Indexed tensor, the row or the scalar at a place (an i32). Null
    /// where no op has one.
    llvm::function_ref<mlir::Value(mlir::Value, mlir::Value)> getIndexed =
        nullptr;
  };
  /// Builds the work of all ops for row `row`. Returns the row or the scalar
  /// of every part that they compute or read.
  llvm::DenseMap<RowPart, mlir::Value>
  buildRow(mlir::ImplicitLocOpBuilder &builder, mlir::Value row,
           Sources sources) const;

private:
  bool fits(mlir::Value value, RowRole role) const;
  bool isUsedOutside(mlir::Value value) const;
  mlir::LogicalResult
  collectInput(RowPart part, RowRole role, mlir::Operation *reader,
               llvm::SmallVectorImpl<RowInputTensor> &inputs) const;
  void collectStreamOutputs(mlir::Value stream,
                            llvm::SmallVectorImpl<RowOutput> &outputs) const;

  llvm::SmallVector<mlir::Operation *> ops;
};

} // namespace nag

#endif // NAG_CONVERSION_ROWGROUP_H
