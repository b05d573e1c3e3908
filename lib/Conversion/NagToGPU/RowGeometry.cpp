// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowGeometry.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace nag;

/// Bytes of one access of a thread.
static constexpr int64_t kAccessBytes = 16;
/// Rows whose beginning is a multiple of this touch no more of the memory's
/// 32-byte sectors than they fill.
static constexpr int64_t kSectorBytes = 32;
/// Elements of a row that a thread's code is written out for.
static constexpr int64_t kMaxThreadElements = 256;
/// Shared memory that is left to exchanges of elements.
static constexpr int64_t kExchangeBytes = 48 * 1024;
/// Shared memory in which a block adds up the sums of its slots.
static constexpr int64_t kSumBytes = 8 * 1024;

//===----------------------------------------------------------------------===//
// Layouts
//===----------------------------------------------------------------------===//

static int64_t getElementBytes(Type element) {
  return llvm::divideCeil(element.getIntOrFloatBitWidth(), 8);
}

/// Narrows the layout of the rows of `type` to what its memory allows. Buffers
/// may be slices of stacks: all that is known of an address is that it is a
/// multiple of the buffer's size.
void RowGeometry::addRows(RankedTensorType type, int64_t rows) {
  int64_t length = type.getShape().back();
  int64_t bytes = getElementBytes(type.getElementType());
  int64_t total = bytes * rows * length;
  auto [entry, isNew] = layouts.try_emplace(length);
  RowLayout &layout = entry->second;
  if (isNew) {
    layout.length = layout.stride = length;
    layout.width = layout.period = kSectorBytes;
  }
  int64_t access = std::gcd(total, kAccessBytes) / bytes;
  layout.width = std::min(
      {layout.width, access, int64_t(llvm::bit_floor<uint64_t>(length))});
  layout.period =
      std::min(layout.period, std::gcd(total, kSectorBytes) / bytes);
}

void RowGeometry::collectLayouts(RowProgram &program) {
  for (const RowArgument &argument : program.getArguments())
    if (argument.role == RowRole::Row)
      addRows(cast<RankedTensorType>(argument.tensor.getType()), numRows);
  for (const RowOutput &output : program.getOutputs())
    if (output.role == RowRole::Row)
      addRows(output.type, numRows);
  for (auto &[length, layout] : layouts) {
    if (length % layout.width == 0 || numRows == 1)
      layout.period = 0;
    if (length > widest.length)
      widest = layout;
  }
  auto consider = [&](int64_t length) {
    if (length > widest.length)
      widest = getLayout(length);
  };
  for (auto op : program.getBody().getOps<linalg::GenericOp>()) {
    int64_t iterations = 1;
    for (int64_t size : op.getStaticLoopRanges())
      iterations *= size;
    consider(iterations);
  }
  for (Value result : program.getResults())
    if (isa<RankedTensorType>(result.getType()))
      consider(getNumElements(result));
}

RowLayout RowGeometry::getLayout(int64_t length) const {
  auto found = layouts.find(length);
  if (found != layouts.end())
    return found->second;
  RowLayout layout;
  layout.length = length;
  layout.width = length % 4 == 0 ? 4 : 1;
  spread(layout);
  return layout;
}

void RowGeometry::spread(RowLayout &layout) const {
  if (layout.length == widest.length)
    return;
  uint64_t perThread = llvm::divideCeil(layout.length, threadsPerRow);
  layout.width = std::min(layout.width, int64_t(llvm::bit_ceil(perThread)));
}

int64_t RowGeometry::getNumVectors(const RowLayout &layout) const {
  int64_t shift = layout.period > 0 ? layout.period - 1 : 0;
  return llvm::divideCeil(layout.length + shift, layout.width);
}

int64_t RowGeometry::getNumChunks(const RowLayout &layout) const {
  if (layout.isPoint)
    return 1;
  return llvm::divideCeil(getNumVectors(layout), threadsPerRow * segments);
}

bool RowGeometry::isFull(const RowLayout &layout, int64_t chunk) const {
  if (layout.isPoint)
    return true;
  int64_t end = ((segments - 1) * getNumChunks(layout) + chunk + 1) *
                threadsPerRow * layout.width;
  return layout.period == 0 && end <= layout.length;
}

//===----------------------------------------------------------------------===//
// What programs allow
//===----------------------------------------------------------------------===//

/// True when operands are read in their place.
static bool isInPlace(linalg::GenericOp op) {
  return llvm::all_of(op.getDpsInputOperands(), [&](OpOperand *operand) {
    return LinearAccess(op, *operand).isIdentity() ||
           !isa<BlockArgument>(getRowSource(operand->get()));
  });
}

static bool exchangesElements(RowProgram &program) {
  return llvm::any_of(
      program.getBody().getOps<linalg::GenericOp>(), [](linalg::GenericOp op) {
        RowPattern pattern = getRowPattern(op);
        return pattern == RowPattern::GroupSum ||
               pattern == RowPattern::ColumnSum || !isInPlace(op);
      });
}

static bool isElementwise(RowProgram &program) {
  for (const RowOutput &output : program.getOutputs())
    if (output.role != RowRole::Row)
      return false;
  for (Operation &op : program.getBody()) {
    if (isa<tensor::ExtractOp>(op))
      return false;
    auto generic = dyn_cast<linalg::GenericOp>(op);
    if (!generic)
      continue;
    if (getRowPattern(generic) != RowPattern::Map || !isInPlace(generic))
      return false;
  }
  return true;
}

RowGeometry::RowGeometry(RowProgram &program, const GPUTarget &gpuTarget)
    : numRows(program.getNumRows()), target(gpuTarget),
      elementwise(::isElementwise(program)),
      exchanging(::exchangesElements(program)) {
  collectLayouts(program);
  for (const RowArgument &argument : program.getArguments())
    if (argument.role == RowRole::Row &&
        getNumElements(argument.value) * 2 > widest.length)
      wideRows.push_back(argument);
  for (const RowOutput &output : program.getOutputs())
    if (output.isSum())
      sumElements += output.type.getNumElements();
    else if (output.role == RowRole::Row &&
             output.type.getShape().back() * 2 > widest.length)
      ++wideResults;
}

//===----------------------------------------------------------------------===//
// Schedules
//===----------------------------------------------------------------------===//

/// Shared memory for rows.
int64_t RowGeometry::getSharedLimit() const {
  return exchanging ? target.chip->maxSharedBytes - kExchangeBytes
                    : target.getSharedRowBytes();
}

/// Leaves the chunks that registers do not hold to shared memory. Returns
/// whether both hold all.
bool RowGeometry::placeRowsInRegisters() {
  int64_t sharedBytes = getSharedLimit();
  int64_t chunks = getNumChunks(widest), width = widest.width;
  int64_t most = target.chip->registers / threadsPerRow - kRowRegisters;
  int64_t excess =
      chunks * width * std::max<int64_t>(wideRows.size(), 1) - most;
  for (const RowArgument &row : llvm::reverse(wideRows)) {
    if (excess <= 0)
      break;
    int64_t bytes = width * threadsPerRow *
                    getElementBytes(getElementTypeOrSelf(row.tensor.getType()));
    int64_t moved = std::min({chunks, int64_t(llvm::divideCeil(excess, width)),
                              (sharedBytes - heldBytes) / bytes});
    held.push_back({row.value, chunks - moved, heldBytes});
    heldBytes += moved * bytes;
    excess -= moved * width;
  }
  return excess <= 0;
}

/// Leaves whole rows to shared memory. Returns whether it holds all.
bool RowGeometry::placeRowsInShared() {
  int64_t elements = getNumChunks(widest) * widest.width * threadsPerRow;
  for (const RowArgument &row : wideRows) {
    held.push_back({row.value, 0, heldBytes});
    heldBytes +=
        elements * getElementBytes(getElementTypeOrSelf(row.tensor.getType()));
  }
  return heldBytes <= getSharedLimit();
}

void RowGeometry::placeRows(int64_t keep) {
  bool isLong = getNumVectors() > kWarpSize && !elementwise;
  if (keep == 2)
    home = isLong && placeRowsInShared() ? Home::Shared : Home::Memory;
  else if (keep == 0 || (isLong && !placeRowsInRegisters()))
    home = Home::Memory;
  if (home != Home::Memory)
    return;
  held.clear();
  heldBytes = 0;
}

std::string RowGeometry::findFault(ScheduleAttr schedule) const {
  if (segments > 1 && !elementwise)
    return "1 in 'segments' for ops that do not work element by element";
  if (segments > getNumVectors())
    return llvm::formatv("at most {0} 'segments' of a row", getNumVectors());
  if (passes > 1 && segments > 1)
    return "1 in 'passes' where 'segments' share a row";
  if (passes > numRows)
    return llvm::formatv("at most {0} 'passes' for as many rows", numRows);
  int64_t elements = getNumChunks(widest) * widest.width;
  if (isUnrolled() && elements > kMaxThreadElements)
    return llvm::formatv("at most {0} elements of a row in a thread, not {1}",
                         kMaxThreadElements, elements);
  if (schedule.get("keep") != 0 && home == Home::Memory)
    return "0 in 'keep' for rows that do not fit on the chip";
  return "";
}

std::string RowGeometry::follow(ScheduleAttr schedule) {
  int64_t width = schedule.get("width");
  threadsPerRow = schedule.get("threads");
  for (auto &[length, layout] : layouts) {
    layout.width = std::min(layout.width, width);
    spread(layout);
  }
  widest.width = std::min(widest.width, width);
  rowsPerBlock = schedule.get("rows");
  segments = schedule.get("segments");
  passes = schedule.get("passes");
  blocks = llvm::divideCeil(llvm::divideCeil(numRows, rowsPerBlock), passes);
  placeRows(schedule.get("keep"));
  sumsInBlock = rowsPerBlock > 1 && sumElements > 0 &&
                sumElements * rowsPerBlock * 4 <= kSumBytes;
  return findFault(schedule);
}
