// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The work of a group of row-wise ops for one row, as IR on small tensors that
// thread code is made from, and what that IR reads.
#ifndef NAG_CONVERSION_NAGTOGPU_ROWPROGRAM_H
#define NAG_CONVERSION_NAGTOGPU_ROWPROGRAM_H

#include "nag/Conversion/RowGroup.h"

#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/IR/Block.h"

namespace nag {

/// What an argument of a row program stands for.
struct RowArgument {
  mlir::BlockArgument value;
  /// The tensor of the kernel: [rows..., d] for role Row, [rows...] for Lane,
  /// of any shape for Whole.
  mlir::Value tensor;
  RowRole role;
};

/// The body computes one row from the arguments: tensors for rows and for
/// tensors of rank 1 and more that rows share, scalars for others. Rows and
/// lanes come in their compute type, shared tensors as they are stored.
class RowProgram {
public:
  /// Fails, with an error at the op, where a tensor has a type that kernels do
  /// not compute with.
  static mlir::FailureOr<std::unique_ptr<RowProgram>>
  build(const RowGroup &group);

  mlir::Block &getBody() { return body; }
  llvm::ArrayRef<RowArgument> getArguments() const { return arguments; }
  mlir::BlockArgument getRowIndex() { return body.getArgument(0); }
  llvm::ArrayRef<RowOutput> getOutputs() const { return outputs; }
  /// One row or scalar per output.
  llvm::ArrayRef<mlir::Value> getResults() const { return results; }
  /// The row of output `index` that the program makes, where an index names it;
  /// null: the row it computes.
  mlir::Value getPlace(unsigned index) const { return places[index]; }
  int64_t getNumRows() const { return numRows; }

private:
  mlir::Value getArgument(mlir::ImplicitLocOpBuilder &builder,
                          mlir::Value tensor, RowRole role);
  mlir::Value getIndexed(mlir::ImplicitLocOpBuilder &builder,
                         mlir::Value tensor, mlir::Value place);
  void eraseDeadOps();

  mlir::Block body;
  llvm::SmallVector<RowArgument> arguments;
  llvm::SmallVector<RowOutput> outputs;
  llvm::SmallVector<mlir::Value> results, places;
  int64_t numRows = 0;
};

/// True for a tensor that every row reads in the same places.
bool isSharedVector(const RowArgument &argument);

/// The number of elements of a tensor of static shape.
int64_t getNumElements(mlir::Value tensor);

/// The tensor whose elements, in row-major order, `tensor` shows from the first
/// on: seen through reshapes and prefixes.
mlir::Value getRowSource(mlir::Value tensor);

/// How an operand of a generic op is read: the place, in row-major order, of
/// the element that the iteration (i0, i1, ...) reads is constant +
/// coefficients[0] * i0 + ...
struct LinearAccess {
  LinearAccess(mlir::linalg::GenericOp op, mlir::OpOperand &operand);

  /// True when iteration number n, in row-major order, reads element n.
  bool isIdentity() const;
  /// True when only the first of two dimensions counts: one element for each
  /// group of iterations.
  bool isPerGroup() const;
  /// True when the two halves of the dimension before the last are exchanged:
  /// iteration n reads element n xor `half`, counted in wholes of the last
  /// dimension.
  bool isFlipped() const;

  llvm::SmallVector<int64_t> sizes;        // of the iteration space
  llvm::SmallVector<int64_t> strides;      // of the iteration space
  llvm::SmallVector<int64_t> coefficients; // in the operand
  int64_t constant = 0;
};

/// What a generic op of a row program does with its iterations.
enum class RowPattern {
  Map,       // one element each
  Reduction, // all of them to one scalar
  GroupSum,  // [groups, width] to [groups]
  ColumnSum, // [groups, width] to [width]
};
RowPattern getRowPattern(mlir::linalg::GenericOp op);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWPROGRAM_H
