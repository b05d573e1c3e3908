// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What warps load of a GEMM's tiles for tensor cores: fragments of mma.sync
// m16n8k16 (bf16) and m16n8k8 (tf32), as in the PTX ISA, "Matrix Fragments for
// mma.m16n8k16 with floating point type" and "mma.m16n8k8".
#ifndef NAG_LIB_CONVERSION_NAGTOGPU_GEMMFRAGMENTS_H
#define NAG_LIB_CONVERSION_NAGTOGPU_GEMMFRAGMENTS_H

#include "Gemm.h"

namespace nag::gemm {

/// The bytes of k that both units multiply at a time.
inline constexpr int64_t kStepBytes = 32;
/// One load of fragments: 16 rows of an operand by one step of k, as four
/// matrices of 8 rows by 16 bytes, a register each.
inline constexpr int64_t kLoadRows = 16, kLoadRegisters = 4;

/// How the four matrices of a load follow one another: for A rows first, for B
/// k first, so that the registers are in the order of mma.sync.
enum class MatrixOrder { RowsFirst, DepthFirst };

/// Loads one operand's fragments for one warp.
class FragmentLoader {
public:
  /// Of a tile of `rows` x `depth` elements, which starts at `sharedStart` in
  /// slot 0, the `warpRows` rows of the warp number `warp` among those that
  /// share them out.
  FragmentLoader(ThreadCode &owner, const Operand &operand, Unit arithmetic,
                 int64_t rows, int64_t depth, int64_t warpRows,
                 MatrixOrder order, mlir::Value sharedStart, mlir::Value warp,
                 mlir::Value lane);

  /// The four registers of 16 rows, from the warp's `row`, and the k of one
  /// step, in the slot whose tile starts at `base`.
  llvm::SmallVector<mlir::Value> load(mlir::Value base, int64_t row,
                                      int64_t step);
  /// Runs the operand's prologue on registers of loads, if it is for them.
  void change(llvm::MutableArrayRef<mlir::Value> registers);
  /// The start of the tile in a slot, from the slot's offset in bytes.
  mlir::Value getBase(mlir::Value slot) { return code.offset(shared, slot); }

private:
  void placeMatrixRows(mlir::Value warpRow, mlir::Value lane);
  void placeElements(mlir::Value warpRow, mlir::Value lane);
  llvm::SmallVector<mlir::Value> loadElements(mlir::Value base, int64_t row,
                                              int64_t step);
  mlir::Value roundToTF32(mlir::Value bits);
  void round(llvm::MutableArrayRef<mlir::Value> registers);

  ThreadCode &code;
  SharedTile tile;
  Unit unit;
  bool kContiguous;
  MatrixOrder order;
  int64_t elementBytes;
  mlir::Value shared, threadOffset;
  /// What is computed of each element; null for nothing.
  std::shared_ptr<const Epilogue> prologue;
};

} // namespace nag::gemm

#endif // NAG_LIB_CONVERSION_NAGTOGPU_GEMMFRAGMENTS_H
