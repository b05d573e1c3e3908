// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Thread code of a row program. Elements of rows are computed when a reduction
// or a result asks for them, a vector of each thread's at a time, and are kept.
#ifndef NAG_CONVERSION_NAGTOGPU_ROWTHREADS_H
#define NAG_CONVERSION_NAGTOGPU_ROWTHREADS_H

#include "RowGeometry.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace nag {

/// A vector's place in a row: the elements of numbers first, first + 1, ...
/// Also a place among groups, which are `groupWidth` elements each of the
/// parent's row: the group of the parent's elements.
struct RowPosition {
  RowLayout layout;
  mlir::Value first;
  /// The same without the row's shift: the thread's place among all.
  mlir::Value place;
  /// The chunk's number, where it is known.
  int64_t chunk = 0;
  /// False when all elements are known to be in the row.
  bool isBounded = false;
  RowPosition *parent = nullptr;
  int64_t groupWidth = 0;

  /// Vectors known here, by tensor.
  llvm::DenseMap<mlir::Value, mlir::Value> values;
  std::map<int64_t, std::unique_ptr<RowPosition>> groups;
};

/// Where a tensor's elements lie that threads read from one another.
struct SharedRow {
  mlir::Value memory; // f32, one row after the other for the rows of a block
  int64_t length = 0; // of a row
};

class RowThreads {
public:
  /// `block` is the block's number among those of the geometry. Arguments and
  /// results, or the partial sums of results, are memory as one dimension.
  RowThreads(DeviceFunction &function, RowProgram &program,
             const RowGeometry &geometry, mlir::Value block);

  /// Only as many rows count as the last element of `memory`, an i32, says.
  void setRowCount(mlir::Value memory) { rowCount = memory; }
  void setArgument(mlir::Value argument, mlir::Value memory) {
    memories[argument] = memory;
  }
  void addResult(mlir::Value memory) { destinations.push_back(memory); }
  void emit();

private:
  using Values = llvm::SmallVector<mlir::Value>;

  // Rows.
  void emitThreadIndices();
  void shareVectors();
  void hoist();
  void hoistElements(mlir::linalg::GenericOp op);
  Values emitCounted(mlir::Value first, mlir::ValueRange sums,
                     llvm::function_ref<Values()> body);
  Values emitPasses(mlir::Value first, mlir::ValueRange sums);
  Values emitRow(mlir::Value row, mlir::ValueRange sums);
  void emitOp(mlir::Operation *op);
  void loadRows();
  Values emitResults(mlir::ValueRange sums);
  void storeRows(llvm::ArrayRef<unsigned> results);
  mlir::Value addToSum(mlir::Value sum, mlir::Value term);
  void storeLane(mlir::Value value, mlir::Value memory, mlir::Value place);
  RowLayout getSumLayout(mlir::Value tensor);
  Values createZeroSums();
  void storeSums(mlir::ValueRange sums);
  void storeSlotSums(mlir::ValueRange sums);
  void storeBlockSums(mlir::ValueRange sums);

  // Positions.
  RowLayout getLayout(mlir::Value tensor);
  RowLayout getIterationLayout(mlir::linalg::GenericOp op);
  RowPosition &getPosition(const RowLayout &layout, int64_t chunk);
  RowPosition createPosition(const RowLayout &layout, mlir::Value chunk);
  RowPosition &getGroupPosition(RowPosition &position, int64_t width);
  Values forEachPosition(
      const RowLayout &layout, mlir::ValueRange inits,
      llvm::function_ref<Values(RowPosition &, mlir::ValueRange)> body);
  /// Which of a position's elements lie in a row of `length`; null for all.
  mlir::Value getMask(RowPosition &position, int64_t length);
  mlir::Value getWholeMask(RowPosition &position, int64_t length);
  mlir::Value getShift(const RowLayout &layout);
  mlir::Value getRowBase(int64_t stride);

  // Elements.
  enum class Access { InPlace, Memory, Group, Flip, Shared };
  bool isWhole(mlir::Value source);
  Access classify(mlir::OpOperand &operand, const RowLayout &layout);
  bool isGroupLocal(mlir::Value tensor, int64_t width, const RowLayout &layout);
  mlir::Value pull(mlir::Value tensor, RowPosition &position);
  mlir::Value compute(mlir::Value source, RowPosition &position);
  mlir::Value pullOperand(mlir::OpOperand &operand, RowPosition &position);
  Values computeBody(mlir::linalg::GenericOp op, RowPosition &position);
  mlir::Value computeIndices(mlir::linalg::IndexOp op, RowPosition &position,
                             llvm::ArrayRef<int64_t> sizes);
  mlir::Value flip(mlir::Value vector, RowPosition &position, int64_t half);
  mlir::Value loadGroupSums(const SharedRow &shared, RowPosition &position);
  mlir::Value gather(mlir::OpOperand &operand, RowPosition &position);
  mlir::Value emitPoint(mlir::tensor::ExtractOp op);

  // Sharing between threads.
  void prepare(mlir::Value tensor, const RowLayout &layout);
  void prepareOperands(mlir::linalg::GenericOp op, const RowLayout &layout);
  void prepareGroup(mlir::Value tensor, const RowLayout &layout);
  void share(mlir::Value tensor);
  SharedRow shareTerms(mlir::linalg::GenericOp op);
  void shareGroupSums(mlir::linalg::GenericOp op);
  void shareColumnTerms(mlir::linalg::GenericOp op);
  mlir::Value sumShared(const SharedRow &shared, mlir::Value begin,
                        int64_t count, int64_t stride);
  void storeShared(mlir::Value vector, const SharedRow &shared,
                   RowPosition &position);
  mlir::Value loadShared(const SharedRow &shared, mlir::Value index,
                         int64_t width);
  SharedRow createShared(int64_t length);
  mlir::Value getSharedIndex(const SharedRow &shared, mlir::Value index);
  void synchronize();

  // Reductions.
  void emitReduction(mlir::linalg::GenericOp op);
  mlir::Value computeGroupSum(mlir::linalg::GenericOp op,
                              RowPosition &position);
  mlir::Value computeColumnSum(mlir::linalg::GenericOp op,
                               RowPosition &position);
  Values reduceOverRow(mlir::linalg::GenericOp op, mlir::ValueRange partials);
  mlir::Value reduceVector(mlir::Operation *combiner, mlir::Value vector);
  mlir::Value reduceOverLanes(mlir::Operation *combiner, mlir::Value value,
                              int64_t lanes);
  Values reduceOverWarps(llvm::ArrayRef<mlir::Operation *> combiners,
                         mlir::ValueRange values, mlir::ValueRange neutrals);
  Values getNeutrals(mlir::linalg::GenericOp op);

  // Memory.
  const RowGeometry::HeldRow *findHeld(mlir::Value source,
                                       const RowPosition &position);
  mlir::Value getHeldAddress(mlir::Value source, RowPosition &position);
  void hold(mlir::Value argument, mlir::Value vector, RowPosition &position);
  mlir::Value loadHeld(mlir::Value argument, RowPosition &position);
  mlir::Value loadRow(mlir::Value argument, RowPosition &position);
  mlir::Value loadVector(mlir::Value memory, mlir::Value base, int64_t length,
                         bool aligned, RowPosition &position);
  void storeVector(mlir::Value vector, mlir::Value memory, mlir::Value base,
                   int64_t length, bool aligned, RowPosition &position);
  mlir::Value loadUniform(mlir::Value memory, mlir::Value index, bool perRow);
  mlir::Value loadElement(mlir::Value memory, mlir::Value index);
  bool isAligned(mlir::Value memory, int64_t stride, int64_t width);

  // Values.
  mlir::Value constant(int64_t value);
  mlir::Value splat(mlir::Value scalar, int64_t width);
  mlir::Value zero(mlir::Type type);
  mlir::Value toType(mlir::Value value, mlir::Type element);
  mlir::Value offset(mlir::Value base, mlir::Value index);
  mlir::Value offset(mlir::Value base, int64_t count);
  mlir::Value isBelow(mlir::Value a, mlir::Value b);
  mlir::Value both(mlir::Value a, mlir::Value b);
  mlir::Value guarded(mlir::Value condition, mlir::Type type,
                      llvm::function_ref<mlir::Value()> load);

  DeviceFunction &function;
  mlir::ImplicitLocOpBuilder &builder;
  RowProgram &program;
  const RowGeometry &geometry;
  llvm::DenseMap<mlir::Value, mlir::Value> memories;
  Values destinations;
  /// The memory that holds the number of rows that count, then that number as
  /// an index; null where all of them do.
  mlir::Value rowCount, rowLimit;

  // The thread: its block, its number in the row, its lane, the row's place in
  // the block.
  mlir::Value block, thread, lane, blockSlot, slot, segment;
  /// Ops whose results are the same for all rows, computed once.
  llvm::DenseSet<mlir::Operation *> hoisted;
  /// Shared scalars, loaded once.
  llvm::DenseMap<mlir::Value, mlir::Value> uniforms;

  // The row at hand.
  mlir::Value row;
  /// False for threads without a row; null when all have one.
  mlir::Value isActive;
  mlir::IRMapping scalars;
  std::map<std::pair<int64_t, int64_t>, mlir::Value> shifts;
  std::map<int64_t, mlir::Value> rowBases;
  std::map<std::array<int64_t, 4>, std::unique_ptr<RowPosition>> positions;
  llvm::DenseMap<mlir::Value, SharedRow> sharedRows;
  llvm::DenseMap<mlir::Value, SharedRow> columnTerms;
  bool usesShared = false;
  /// Threads read elements of the row in memory that others may overwrite.
  bool readsOthers = false;
};

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWTHREADS_H
