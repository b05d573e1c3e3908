// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "GemmFragments.h"
#include "MatrixCode.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

FragmentLoader::FragmentLoader(ThreadCode &owner, const Operand &operand,
                               Unit arithmetic, int64_t rows, int64_t depth,
                               int64_t warpRows, MatrixOrder matrixOrder,
                               Value sharedStart, Value warp, Value lane)
    : code(owner), tile(getSharedTile(operand, rows, depth, arithmetic)),
      unit(arithmetic), kContiguous(operand.kContiguous), order(matrixOrder),
      elementBytes(operand.getElementBytes()), shared(sharedStart) {
  if (changesFragments(operand, unit))
    prologue = operand.prologue;
  Value warpRow = code.mul(warp, warpRows);
  if (!kContiguous && unit == Unit::TF32)
    placeElements(warpRow, lane);
  else
    placeMatrixRows(warpRow, lane);
}

/// Lane l gives ldmatrix row l % 8 of matrix l / 8.
void FragmentLoader::placeMatrixRows(Value warpRow, Value lane) {
  Value matrix = code.div(lane, 8), inMatrix = code.rem(lane, 8);
  Value low = code.bitAnd(matrix, 1), high = code.shiftRight(matrix, 1);
  bool rowsFirst = order == MatrixOrder::RowsFirst;
  Value rowHalf = code.mul(rowsFirst ? low : high, 8);
  Value depthHalf = rowsFirst ? high : low;
  if (kContiguous) {
    Value line = code.add(warpRow, code.add(inMatrix, rowHalf));
    threadOffset = tile.getThreadOffset(code, line, code.mul(depthHalf, 16));
    return;
  }
  Value line = code.add(inMatrix, code.mul(depthHalf, 8));
  Value row = code.add(warpRow, rowHalf);
  threadOffset = tile.getThreadOffset(code, line, code.mul(row, elementBytes));
}

/// Lane l holds row l / 4 and k l % 4 of each matrix.
void FragmentLoader::placeElements(Value warpRow, Value lane) {
  Value row = code.add(warpRow, code.div(lane, 4));
  threadOffset = tile.getThreadOffset(code, code.rem(lane, 4),
                                      code.mul(row, elementBytes));
}

SmallVector<Value> FragmentLoader::loadElements(Value base, int64_t row,
                                                int64_t step) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  SmallVector<Value> values;
  for (int64_t matrix = 0; matrix < 4; ++matrix) {
    bool rowsFirst = order == MatrixOrder::RowsFirst;
    int64_t rowHalf = rowsFirst ? matrix % 2 : matrix / 2;
    int64_t depthHalf = rowsFirst ? matrix / 2 : matrix % 2;
    Value pointer =
        tile.getPointer(code, base, threadOffset, 8 * step + 4 * depthHalf,
                        (row + 8 * rowHalf) * elementBytes);
    values.push_back(code.load(builder.getI32Type(), pointer, elementBytes));
  }
  return values;
}

Value FragmentLoader::roundToTF32(Value bits) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Value number = arith::BitcastOp::create(builder, builder.getF32Type(), bits);
  return NVVM::ConvertFloatToTF32Op::create(builder, builder.getI32Type(),
                                            number, NVVM::FPRoundingMode::RNA);
}

SmallVector<Value> FragmentLoader::load(Value base, int64_t row, int64_t step) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  int64_t stepLines = kStepBytes / elementBytes;
  SmallVector<Value> values;
  if (!kContiguous && unit == Unit::TF32)
    values = loadElements(base, row, step);
  else if (kContiguous)
    values = loadMatrices(
        builder,
        tile.getPointer(code, base, threadOffset, row, step * kStepBytes),
        /*transposed=*/false);
  else
    values = loadMatrices(builder,
                          tile.getPointer(code, base, threadOffset,
                                          step * stepLines, row * elementBytes),
                          /*transposed=*/true);
  if (!prologue)
    round(values);
  return values;
}

void FragmentLoader::round(MutableArrayRef<Value> registers) {
  if (unit == Unit::TF32)
    for (Value &bits : registers)
      bits = roundToTF32(bits);
}

void FragmentLoader::change(MutableArrayRef<Value> registers) {
  if (!prologue)
    return;
  for (Value &bits : registers)
    bits = changeFragment(code, *prologue, unit, bits);
  round(registers);
}
