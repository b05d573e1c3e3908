// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Row-wise ops that a GEMM applies to its sums before they are stored, or to
// elements of an operand as they are loaded.
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_GEMMEPILOGUE_H
#define NAG_LIB_CONVERSION_NAGTOGPU_GEMMEPILOGUE_H

#include "ThreadCode.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "llvm/ADT/SetVector.h"

#include <array>

namespace nag::gemm {

struct Problem;

/// Columns that lanes of a warp hold together for rows of no more columns.
inline constexpr int64_t kSpanColumns = 32;
/// The most columns that they hold together: a head.
inline constexpr int64_t kMostSpanColumns = 128;

/// The part of a row that some lanes of a warp hold together: whole rows that
/// are short, else one of the equal parts that ops work on one by one (heads).
/// A thread's elements are in order, the first half of them in the first half
/// of the part and the others as far along in the second, where the part has
/// no more columns than there are (`inside`).
struct RowSpan {
  /// How many columns it has, and how many lanes hold it, a power of two; they
  /// lie next to one another.
  int64_t columns = 0, lanes = 0;
  /// The places in the part of the thread's elements are a number of the
  /// thread's own plus constants.
  mlir::Value first;
  llvm::SmallVector<int64_t> offsets;
  /// Per element: whether it is in the row; null for true.
  llvm::SmallVector<mlir::Value> inside;
};

/// How an epilogue reads a tensor that is not the product's: one of the shape
/// of the result, of rank 0, a vector or a table of vectors that rows share,
/// or one scalar for each row.
enum class EpilogueSource { Element, Scalar, Vector, Table, Lane };
inline constexpr unsigned kNumEpilogueSources = 5;

/// What an epilogue works on at some places of a row; f32 but for tables, which
/// are pointers, and for lanes.
struct EpilogueRow {
  using Elements = llvm::SmallVector<mlir::Value>;
  mlir::ValueRange sums;
  /// Per tensor.
  llvm::SmallVector<Elements> inputs;
  mlir::ValueRange scalars;
  llvm::ArrayRef<Elements> vectors;
  llvm::SmallVector<mlir::Value> tables, lanes;
  /// The row's number, i32.
  mlir::Value row;
  RowSpan span;
};

/// How many of `offsets` follow one another from the first on: a power of two,
/// `most` at most.
int64_t countRun(llvm::ArrayRef<int64_t> offsets, int64_t most);

/// The thread's elements of a vector in memory, in f32 or as stored: that of
/// its places, or of its places in each half where it is half as long.
EpilogueRow::Elements loadVector(ThreadCode &code, mlir::Value pointer,
                                 mlir::Type elementType, int64_t length,
                                 const RowSpan &span);

/// Row-wise ops after a contraction: those that combine its result with other
/// tensors place by place, and those that need short rows, or short equal parts
/// of rows, as a whole. Results that others read are stored.
class Epilogue {
public:
  explicit Epilogue(const Problem &problem);
  /// Of a tensor of rows that no contraction makes.
  Epilogue(mlir::Value start, int64_t rowCount, int64_t columnCount);

  /// Takes the op if it is of that kind; it reads what is computed so far, or
  /// other tensors alone. nag.put lets rows go where its indices say.
  bool append(RowwiseOpInterface op);
  /// True when `value` is the contraction's result plus other tensors, and
  /// nothing else reads what leads to it.
  bool isSum(mlir::Value value) const;
  /// Lets the result of `op` be the value `computed` that is known: the terms
  /// that it adds are added by the contraction.
  void pass(mlir::Operation *op, mlir::Value known);
  /// One of the two is to be called after the last append.
  void collectOutputs();
  void setOutput(mlir::Value value) { outputs = {value}; }

  size_t getNumSteps() const { return steps.size(); }
  /// The contraction's result and those of the ops.
  bool computes(mlir::Value value) const { return computed.contains(value); }
  /// How many columns lanes hold together, a power of two; 0 where each element
  /// goes its own way.
  int64_t getSpan() const { return span; }
  llvm::ArrayRef<mlir::Value> getSources(EpilogueSource kind) const {
    return sources[unsigned(kind)].getArrayRef();
  }
  /// Tensors that are stored, and the indices of those whose rows are put here
  /// and there.
  llvm::ArrayRef<mlir::Value> getOutputs() const { return outputs; }
  mlir::Value getIndices(mlir::Value output) const {
    return indices.lookup(output);
  }

  /// The names of the ops that compute something.
  void collectNames(llvm::SmallSetVector<llvm::StringRef, 4> &names) const;
  /// Arithmetic instructions for one element.
  int64_t countInstructions() const;
  /// True where it is known to make zero of zero, of whatever it reads else.
  bool keepsZero() const;
  /// What it makes of two elements of bf16 in a vector, rounded to bf16: in
  /// bf16 where the result is the same as in f32 (but below 2^-126), else in
  /// f32. It must read nothing else.
  mlir::Value applyToPair(ThreadCode &code, mlir::Value pair) const;
  /// True where that takes instructions on pairs.
  bool worksOnPairs() const;

  /// Per output its elements, or its one scalar of the row. All lanes of the
  /// warp must come here where the epilogue has a span.
  llvm::SmallVector<EpilogueRow::Elements> apply(ThreadCode &code,
                                                 const EpilogueRow &row) const;

private:
  struct Step {
    mlir::Operation *op;
    /// The row program, with the op's operands and the row as arguments.
    std::unique_ptr<mlir::Block> program;
    llvm::SmallVector<mlir::Value> results;
    /// Where there is no program, the value that the op's result is.
    mlir::Value passed;
  };

  /// Visits the ops on scalars of all steps and tells, `share(to, from)`, which
  /// values are handed on. False where either gives up.
  bool
  visitSteps(llvm::function_ref<bool(mlir::Operation &)> compute,
             llvm::function_ref<bool(mlir::Value, mlir::Value)> share) const;
  bool appendPut(PutOp op);
  std::unique_ptr<mlir::Block>
  buildProgram(RowwiseOpInterface op, llvm::SmallVector<mlir::Value> &results);
  std::optional<int64_t> findSpan(RowwiseOpInterface op, mlir::Block &program);
  EpilogueSource getSource(mlir::OpOperand &operand) const;

  int64_t rows, columns;
  mlir::Value result;
  /// The shortest part of a row whose halves lie in lanes as RowSpan says.
  int64_t leastSpan;
  int64_t span = 0;
  llvm::SmallVector<Step> steps;
  llvm::SetVector<mlir::Value> computed;
  std::array<llvm::SetVector<mlir::Value>, kNumEpilogueSources> sources;
  llvm::SmallVector<mlir::Value> outputs;
  llvm::DenseMap<mlir::Value, mlir::Value> indices;
};

/// The work of one row program on a thread's elements of a row.
class EpilogueProgram {
public:
  EpilogueProgram(ThreadCode &owner, const EpilogueRow &epilogueRow,
                  int64_t rowColumns)
      : code(owner), row(epilogueRow), columns(rowColumns) {}

  void set(mlir::Value tensor, const EpilogueRow::Elements &values) {
    elements[tensor] = values;
  }
  void setScalar(mlir::Value scalar, mlir::Value value) {
    scalars.map(scalar, value);
  }
  void setTable(mlir::Value table, mlir::Value pointer) {
    tables[table] = pointer;
  }
  void run(mlir::Block &program);
  /// The elements of a row, or its one scalar.
  EpilogueRow::Elements get(mlir::Value result) const;

private:
  void runOp(mlir::Operation &op);
  void loadTableRow(mlir::Operation &op);
  void map(mlir::Operation &op);
  void reduce(mlir::Operation &op);
  mlir::IRMapping mapOperands(mlir::Operation &op, int64_t index) const;
  mlir::Value getElement(mlir::OpOperand &operand, int64_t index) const;
  mlir::Value reduceOverLanes(mlir::Operation *combiner, mlir::Value value);
  void cloneBody(mlir::Operation &op, mlir::IRMapping &mapping, int64_t index);

  ThreadCode &code;
  const EpilogueRow &row;
  int64_t columns;
  mlir::IRMapping scalars;
  llvm::DenseMap<mlir::Value, EpilogueRow::Elements> elements;
  llvm::DenseMap<mlir::Value, mlir::Value> tables;
};

} // namespace nag::gemm

#endif // NAG_LIB_CONVERSION_NAGTOGPU_GEMMEPILOGUE_H
