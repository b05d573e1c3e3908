// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "RowGeometry.h"

#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "llvm/Support/MathExtras.h"

#include <numeric>

using namespace mlir;
using namespace nag;

/// Bytes of one access of a thread.
static constexpr int64_t kAccessBytes = 16;
/// Rows whose beginning is a multiple of this touch no more of the memory's
/// 32-byte sectors than they fill.
static constexpr int64_t kSectorBytes = 32;
static constexpr int64_t kMaxThreads = 1024;
/// Elements of rows that a thread of a small block keeps in registers.
static constexpr int64_t kRegisterElements = 64;
/// The registers of a multiprocessor, and how many a thread needs besides those
/// for elements.
static constexpr int64_t kRegisters = 64 * 1024, kOtherRegisters = 44;
/// Shared memory that is left to reductions, and to exchanges of elements.
static constexpr int64_t kReductionBytes = 4 * 1024;
static constexpr int64_t kExchangeBytes = 48 * 1024;
static constexpr int64_t kBlockThreads = 128;

RowGeometry::RowGeometry(RowProgram &program, const GPUTarget &target)
    : numRows(program.getNumRows()) {
  collectLayouts(program);
  chooseThreads(program, target);
  chooseBlocks(program, target);
}

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
  return layout;
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
// Threads and blocks
//===----------------------------------------------------------------------===//

/// True when operands are read in their place.
static bool isInPlace(linalg::GenericOp op) {
  return llvm::all_of(op.getDpsInputOperands(), [&](OpOperand *operand) {
    return LinearAccess(op, *operand).isIdentity() ||
           !isa<BlockArgument>(getRowSource(operand->get()));
  });
}

/// True when threads may read one another's elements.
static bool exchangesElements(RowProgram &program) {
  return llvm::any_of(
      program.getBody().getOps<linalg::GenericOp>(), [](linalg::GenericOp op) {
        RowPattern pattern = getRowPattern(op);
        return pattern == RowPattern::GroupSum ||
               pattern == RowPattern::ColumnSum || !isInPlace(op);
      });
}

/// True when every element of the results depends on elements of rows in the
/// same place only, so that a row may be cut.
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

/// Threads, whole warps, that leave the fewest places of their chunks empty.
static int64_t getNumWarpThreads(int64_t vectors, int64_t maxChunks) {
  int64_t least =
      llvm::alignTo(llvm::divideCeil(vectors, maxChunks), kWarpSize);
  int64_t best = std::min(least, kMaxThreads), fewest = INT64_MAX;
  for (int64_t threads = best; threads <= std::min(2 * best, kMaxThreads);
       threads += kWarpSize) {
    int64_t places = threads * llvm::divideCeil(vectors, threads);
    if (places < fewest) {
      best = threads;
      fewest = places;
    }
  }
  return best;
}

void RowGeometry::chooseThreads(RowProgram &program, const GPUTarget &target) {
  int64_t vectors = getNumVectors(widest);
  SmallVector<RowArgument> wideRows;
  for (const RowArgument &argument : program.getArguments())
    if (argument.role == RowRole::Row &&
        getNumElements(argument.value) * 2 > widest.length)
      wideRows.push_back(argument);
  int64_t rows = std::max<int64_t>(wideRows.size(), 1);
  if (vectors <= kWarpSize) {
    threadsPerRow = static_cast<int64_t>(llvm::bit_ceil<uint64_t>(vectors));
    return;
  }
  int64_t elements = std::min<int64_t>(32, kRegisterElements / rows);
  int64_t maxChunks = std::max<int64_t>(1, elements / widest.width);
  if (isElementwise(program)) {
    maxChunks = std::min<int64_t>(maxChunks, 4);
    threadsPerRow =
        std::min<int64_t>(getNumWarpThreads(vectors, maxChunks), 256);
    segments = llvm::divideCeil(vectors, threadsPerRow * maxChunks);
    return;
  }
  threadsPerRow = getNumWarpThreads(vectors, maxChunks);
  int64_t reserved =
      exchangesElements(program) ? kExchangeBytes : kReductionBytes;
  chooseMemory(wideRows, target.maxSharedBytes - reserved);
}

/// Leaves the chunks that registers do not hold to shared memory.
void RowGeometry::chooseMemory(ArrayRef<RowArgument> rows,
                               int64_t sharedBytes) {
  int64_t chunks = getNumChunks(widest), width = widest.width;
  int64_t most = kRegisters / threadsPerRow - kOtherRegisters;
  int64_t excess = chunks * width * std::max<int64_t>(rows.size(), 1) - most;
  for (const RowArgument &row : llvm::reverse(rows)) {
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
  onChip = excess <= 0;
  if (onChip)
    return;
  held.clear();
  heldBytes = 0;
  // Nothing is kept: fewer threads, with more registers each, will do.
  threadsPerRow = std::min(threadsPerRow, kMaxThreads / 2);
}

/// True when a thread keeps something from row to row: sums over rows, or
/// vectors that rows share.
static bool carriesOver(RowProgram &program) {
  auto isVector = [](const RowArgument &argument) {
    return argument.role == RowRole::Whole &&
           isa<RankedTensorType>(argument.value.getType()) &&
           llvm::none_of(argument.value.getUsers(), [](Operation *user) {
             return isa<tensor::ExtractSliceOp>(user);
           });
  };
  return llvm::any_of(program.getArguments(), isVector) ||
         llvm::any_of(program.getOutputs(),
                      [](const RowOutput &output) { return output.isSum(); });
}

void RowGeometry::chooseBlocks(RowProgram &program, const GPUTarget &target) {
  if (threadsPerRow < kBlockThreads)
    rowsPerBlock = kBlockThreads / threadsPerRow;
  if (threadsPerRow > kWarpSize)
    rowsPerBlock = 1;
  while (rowsPerBlock > 1 && rowsPerBlock * threadsPerRow > kWarpSize &&
         (numRows - 1) / rowsPerBlock + 1 < target.multiprocessors)
    rowsPerBlock /= 2;
  blocks = llvm::divideCeil(numRows, rowsPerBlock);
  if (segments > 1 || !carriesOver(program))
    return;
  // Few enough partial sums, enough blocks to fill the chip.
  int64_t residents =
      std::max<int64_t>(1, kMaxThreads / (threadsPerRow * rowsPerBlock) / 2);
  int64_t most = target.multiprocessors * std::min<int64_t>(residents, 4);
  passes = llvm::divideCeil(blocks, most);
  blocks = llvm::divideCeil(blocks, passes);
}
