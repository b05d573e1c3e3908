// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The interfaces through which nag ops (and, by external models, the upstream
// ops they mix with) tell passes how they differentiate, what they cost, what
// they do to one row, and of which inner products that is made.
#ifndef NAG_INTERFACES_NAGINTERFACES_H
#define NAG_INTERFACES_NAGINTERFACES_H

#include "nag/Dialect/Nag/IR/RowGram.h"

#include "mlir/IR/BuiltinTypes.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "mlir/IR/OpDefinition.h"
#include <optional>

namespace nag {

/// The cotangent of one value. `value` belongs to a tensor or to the direction
/// of a stream, `logNorm` to a stream's log-norm lane alone. Null means zero.
struct Cotangent {
  mlir::Value value;
  mlir::Value logNorm;

  explicit operator bool() const { return value || logNorm; }
};

/// How a row-wise op uses an operand or a result; see RowwiseOpInterface.
enum class RowRole { Row, Lane, Stream, Whole, Sum, Indexed, Base };

/// Values that have the same rows; see RowSpaceOpInterface.
struct RowSpace {
  llvm::SmallVector<mlir::Value> values;
  /// tensor<(B+1)xi32> whose last element counts the rows; null: all count, or
  /// another op knows.
  mlir::Value offsets;
};

/// Work whose amount follows from the positions of routed rows, which are known
/// at run time only; see CostOpInterface.
struct PairCost {
  /// Floating-point operations per pair of a query and a key that it sees.
  int64_t flops = 0;
  /// The pairs that getFlops counts: every query as the mean one.
  int64_t meanPairs = 0;
  /// How many positions before its own a query sees; none: all.
  std::optional<int64_t> window;
  /// Keys are those of the rows' own tokens, else those of all tokens.
  bool routesKeys = false;
};

namespace detail {
/// Bytes of all operands and results of `op`, each counted once.
int64_t operandAndResultBytes(mlir::Operation *op);
} // namespace detail

/// Bytes that a value of this type takes in memory; 0 for a type that takes
/// none.
int64_t getTypeBytes(mlir::Type type);

/// The result that may overwrite the memory of `value`: of the row-wise op that
/// alone reads it (RowwiseOpInterface::getSharedOperand), or of an op that adds
/// it, a product, to something. Null when there is none.
mlir::OpResult findOverwriter(mlir::Value value);

} // namespace nag

#include "nag/Interfaces/NagInterfaces.h.inc"

namespace nag {
/// True for ops that add two tensors up, which a product does as it is written.
bool isSumOp(mlir::Operation *op);
/// The value that `value` is widened from, where nothing else reads that.
mlir::Value skipWidening(mlir::Value value);
} // namespace nag

#endif // NAG_INTERFACES_NAGINTERFACES_H
