// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Tiles of GEMM operands in shared memory, and the copies that fill them.
#include "Gemm.h"

#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/LLVMIR/NVVMDialect.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

//===----------------------------------------------------------------------===//
// SharedTile
//===----------------------------------------------------------------------===//

SharedTile gemm::getSharedTile(const Operand &operand, int64_t rows,
                               int64_t depth, Unit unit) {
  SharedTile tile;
  int64_t lineElements = operand.kContiguous ? depth : rows;
  tile.lines = operand.kContiguous ? rows : depth;
  tile.lineBytes = lineElements * operand.getElementBytes();
  // Threads read [k, rows] along lines, which needs no permutation.
  if (!operand.kContiguous && unit == Unit::FMA)
    return tile;
  // Lanes read single elements of 4 lines.
  if (!operand.kContiguous && unit == Unit::TF32) {
    tile.mask = 3;
    tile.scale = 1;
    return tile;
  }
  int64_t linesPerBankRow = std::max<int64_t>(1, 128 / tile.lineBytes);
  int64_t chunks = tile.lineBytes / 16;
  tile.shift = llvm::Log2_64(linesPerBankRow);
  tile.mask = std::min<int64_t>(chunks, 8) - 1;
  return tile;
}

Value SharedTile::getThreadOffset(ThreadCode &code, Value line,
                                  Value byte) const {
  Value start = code.mul(line, lineBytes);
  if (mask == 0)
    return code.add(start, byte);
  Value permuted = code.bitAnd(code.shiftRight(line, shift), mask);
  return code.add(start,
                  code.bitXor(byte, code.shiftLeft(permuted, scale + 4)));
}

Value SharedTile::getPointer(ThreadCode &code, Value base, Value threadOffset,
                             int64_t line, int64_t byte) const {
  // Where the constant only adds, it becomes a part of the address.
  int64_t permuted = permutation(line);
  if (mask == 0)
    return code.offset(code.offset(base, threadOffset),
                       line * lineBytes + byte);
  Value offset = code.bitXor(threadOffset, byte ^ permuted);
  return code.offset(code.offset(base, offset), line * lineBytes);
}

//===----------------------------------------------------------------------===//
// TileCopy
//===----------------------------------------------------------------------===//

/// The bytes of one copy: the largest power of two up to 16 that lines are
/// multiples of.
static int64_t getCopyWidth(int64_t lineBytes) {
  int64_t width = 16;
  while (lineBytes % width != 0)
    width /= 2;
  return width;
}

TileCopy::TileCopy(ThreadCode &owner, const Operand &operand,
                   const SharedTile &sharedTile, const CopySource &copySource,
                   Value tileFirstRow, const Problem &problem,
                   const Schedule &schedule, const BlockPlace &place,
                   Value sharedStart)
    : code(owner), tile(sharedTile), source(copySource),
      kContiguous(operand.kContiguous), extent(source.extent), depth(problem.k),
      elementType(operand.getElementType()),
      elementBytes(operand.getElementBytes()), threads(schedule.getThreads()),
      firstRow(tileFirstRow), shared(sharedStart),
      prologue(changesFragments(operand, problem.unit) ? nullptr
                                                       : operand.prologue) {
  int64_t tileRows = kContiguous ? tile.lines : tile.lineBytes / elementBytes;
  rowEdge = extent % tileRows != 0;
  kEdge =
      depth != countSteps(problem, schedule) * schedule.tileK * schedule.splitK;
  lineStride = (kContiguous ? depth : extent) * elementBytes;
  stepBytes = schedule.tileK * (kContiguous ? elementBytes : lineStride);
  width = getCopyWidth(lineStride);
  units = tile.getBytes() / width;

  int64_t unitsPerLine = tile.lineBytes / width;
  line = code.div(place.thread, unitsPerLine);
  Value byte = code.mul(code.rem(place.thread, unitsPerLine), width);
  element = code.div(byte, elementBytes);
  if (units < threads)
    active = code.less(place.thread, units);
  threadOffset = tile.getThreadOffset(code, line, byte);

  Value outer = kContiguous ? firstRow : place.k;
  Value inner = kContiguous ? place.k : firstRow;
  Value column = code.mul(code.extend(code.add(inner, element)), elementBytes);
  first = code.offset(source.start, column);
  if (!source.indices) {
    Value start = code.mul(code.extend(code.add(outer, line)), lineStride);
    first = code.offset(first, start);
  } else if (kContiguous) {
    for (int64_t unit = 0; unit < units; unit += threads)
      namedRows.push_back(getNamedLine(
          code.add(code.add(firstRow, line), unit / unitsPerLine)));
  } else {
    stepBytes = 0;
  }
  if (prologue && kContiguous)
    for (int64_t unit = 0; unit < units; unit += threads)
      rowLanes.push_back(
          loadLanes(code.add(code.add(firstRow, line), unit / unitsPerLine)));
}

/// Where the line starts, in bytes, that index `number` names; anywhere in the
/// tensor where the line does not count.
Value TileCopy::getNamedLine(Value number) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  Value last = code.constant((kContiguous ? extent : depth) - 1);
  number = builder.createOrFold<arith::MinSIOp>(number, last);
  Value place = code.offset(source.indices, code.mul(code.extend(number), 4));
  Value named = code.load(builder.getI32Type(), place, 4);
  named = builder.createOrFold<arith::MaxSIOp>(named, code.constant(0));
  return code.mul(code.extend(named), lineStride);
}

/// The pointer to the thread's unit that is `unit` units behind its first one.
Value TileCopy::getSource(Value from, Value k, int64_t unit) {
  int64_t unitsPerLine = tile.lineBytes / width;
  int64_t lineOffset = unit / unitsPerLine;
  int64_t byteOffset = unit % unitsPerLine * width;
  if (!source.indices)
    return code.offset(from, lineOffset * lineStride + byteOffset);
  Value start = kContiguous
                    ? namedRows[unit / threads]
                    : getNamedLine(code.add(code.add(k, line), lineOffset));
  return code.offset(code.offset(from, start), byteOffset);
}

/// Whether the unit at a constant distance from the thread's first is inside
/// the operand; null where all are.
Value TileCopy::isInside(Value k, int64_t lineOffset, int64_t elementOffset) {
  Value lineIndex = code.add(line, lineOffset);
  Value elementIndex = code.add(element, elementOffset);
  Value row = code.add(kContiguous ? lineIndex : elementIndex, firstRow);
  Value inside;
  if (source.rowLimit)
    inside = code.less(row, source.rowLimit);
  else if (rowEdge)
    inside = code.less(row, extent);
  Value insideDepth = isInsideDepth(k, lineOffset, elementOffset);
  if (!inside || !insideDepth)
    return inside ? inside : insideDepth;
  return code.both(inside, insideDepth);
}

/// The same of k alone.
Value TileCopy::isInsideDepth(Value k, int64_t lineOffset,
                              int64_t elementOffset) {
  if (!source.depthLimit && !kEdge)
    return Value();
  Value index = kContiguous ? code.add(element, elementOffset)
                            : code.add(line, lineOffset);
  index = code.add(index, k);
  return source.depthLimit ? code.less(index, source.depthLimit)
                           : code.less(index, depth);
}

/// One unit; where it is not inside the operand, zeros.
void TileCopy::copy(Value from, Value to, Value inside) {
  ImplicitLocOpBuilder &builder = code.getBuilder();
  if (width >= 4) {
    Value bytes;
    if (inside)
      bytes = code.select(inside, code.constant(width), code.constant(0));
    auto modifier = width == 16 ? NVVM::LoadCacheModifierKind::CG
                                : NVVM::LoadCacheModifierKind::CA;
    NVVM::CpAsyncOp::create(builder, to, from, width, modifier, bytes);
    return;
  }
  // Units of two bytes go through a register.
  Type type = builder.getI16Type();
  if (!inside)
    return code.store(code.load(type, from, width), to, width);
  code.store(code.zero(type), to, width);
  code.ifTrue(inside,
              [&] { code.store(code.load(type, from, width), to, width); });
}

/// The thread's units: their number in the tile, and how many lines and bytes
/// they are behind its first.
void TileCopy::forEachUnit(function_ref<void(int64_t, int64_t, int64_t)> body) {
  int64_t unitsPerLine = tile.lineBytes / width;
  auto visitAll = [&] {
    for (int64_t unit = 0; unit < units; unit += threads)
      body(unit, unit / unitsPerLine, unit % unitsPerLine * width);
  };
  if (active)
    code.ifTrue(active, visitAll);
  else
    visitAll();
}

void TileCopy::issue(Value from, Value k, Value slot) {
  Value base = code.offset(shared, slot);
  forEachUnit([&](int64_t unit, int64_t lineOffset, int64_t byteOffset) {
    Value to =
        tile.getPointer(code, base, threadOffset, lineOffset, byteOffset);
    copy(getSource(from, k, unit), to,
         isInside(k, lineOffset, byteOffset / elementBytes));
  });
}
