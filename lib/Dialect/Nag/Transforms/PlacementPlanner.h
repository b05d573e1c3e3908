// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Decides which tensors of a host function share memory: one backward walk
// that asks each value's producer to write where its consumer wants it.
#ifndef NAG_LIB_TRANSFORMS_PLACEMENTPLANNER_H
#define NAG_LIB_TRANSFORMS_PLACEMENTPLANNER_H

#include "BufferPlan.h"
#include "nag/Dialect/Nag/Transforms/HostSignature.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"

namespace nag {

class PlacementPlanner {
public:
  /// With `carriesRows`, kernels copy rows that they do not write.
  PlacementPlanner(mlir::func::FuncOp hostFunction,
                   mlir::SymbolTableCollection &symbolTables, bool carriesRows);

  /// Places every tensor; inserts nag.copy where one must stand twice.
  void run();

  /// Where `value` lives; nothing for a constant.
  std::optional<Place> resolve(mlir::Value value) const;

  llvm::SmallVector<Buffer> &getBuffers() { return buffers; }
  unsigned getNumCopies() const { return numCopies; }
  /// Of all copies.
  int64_t getCopiedBytes() const { return copiedBytes; }
  /// Per carry of `repeat`, the places of the first and the second iteration's
  /// results.
  llvm::ArrayRef<Place> getCarryPlaces(RepeatOp repeat) const {
    return carryPlaces.find(repeat)->second;
  }

private:
  void visitReturn(mlir::func::ReturnOp op);
  void visitConcat(mlir::tensor::ConcatOp op);
  void visitInsert(mlir::tensor::InsertSliceOp op);
  void visitLaunch(LaunchOp op);
  void visitRepeat(RepeatOp op);
  void aliasUpdates(mlir::func::CallOp op);
  bool mayOverwrite(mlir::Value value, mlir::Operation *op);
  void placeUpdated(LaunchOp op, unsigned input, unsigned result);
  void placeUpdates();
  void aliasForwards(RepeatOp op);
  mlir::Value placeForwarded(mlir::OpOperand &use);
  void placeStack(RepeatOp op, unsigned carry, mlir::Value stack);
  void placeUpdated(RepeatOp op, unsigned carry);
  void placeAlternating(RepeatOp op, unsigned carry);
  void placeOrOverwrite(mlir::OpOperand &use, Place place);

  Place addBuffer(int64_t bytes);
  Place ensurePlace(mlir::Value value);
  bool request(mlir::Value value, Place place);
  bool mayWrite(mlir::OpResult result, unsigned buffer);
  bool isAt(mlir::Value value, Place place) const;
  void placeOrCopy(mlir::Value part, Place place, mlir::OpOperand &use);
  mlir::Value insertCopy(mlir::Value value, Place place,
                         mlir::Operation *before);

  mlir::func::FuncOp function;
  mlir::SymbolTableCollection &symbols;
  const bool carriesRows;
  llvm::SmallVector<Buffer> buffers;
  llvm::DenseMap<mlir::Value, Place> places;
  /// Results that stand in another value's memory, at a byte offset.
  llvm::DenseMap<mlir::Value, std::pair<mlir::Value, int64_t>> aliases;
  llvm::DenseMap<mlir::Operation *, llvm::SmallVector<Place>> carryPlaces;
  unsigned numCopies = 0;
  int64_t copiedBytes = 0;
};

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_PLACEMENTPLANNER_H
