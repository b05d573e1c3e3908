// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The rows that nag.put does not write, where its result stands in other memory
// than what it completes: blocks of their own copy them.
#ifndef NAG_CONVERSION_NAGTOGPU_ROWCARRY_H
#define NAG_CONVERSION_NAGTOGPU_ROWCARRY_H

#include "nag/Conversion/NagToGPU.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

namespace nag {

class RowCarry {
public:
  /// Of one of the results (`nag.carries`).
  explicit RowCarry(PutOp put);

  /// How many blocks of so many threads there are.
  int64_t countBlocks(int64_t threads) const;
  /// Adds the buffers that `emit` takes.
  void addOperands(KernelLowering &kernel,
                   llvm::SmallVectorImpl<mlir::Value> &operands) const;
  /// Builds what block number `block` (an index) does. Takes its arguments from
  /// the front of `arguments`.
  void emit(DeviceFunction &function, llvm::ArrayRef<mlir::Value> &arguments,
            mlir::Value block, int64_t threads) const;

private:
  mlir::Value base, result, indices, offsets;
  /// Rows of the result, those that indices have room for, and how many at most
  /// no index names.
  int64_t rows, named, left;
  int64_t rowBytes;
};

/// The results of row-wise ops of which rows are carried along.
llvm::SmallVector<RowCarry> findCarries(llvm::ArrayRef<mlir::Operation *> ops);

} // namespace nag

#endif // NAG_CONVERSION_NAGTOGPU_ROWCARRY_H
