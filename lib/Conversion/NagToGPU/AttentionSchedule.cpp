// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the schedules of attention may be, and what its blocks then do.
#include "AttentionTiles.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nag;
using namespace nag::attention;

static constexpr int64_t kWarpSize = 32;
/// Cycles until a block's first tiles are there, and of a step that meets the
/// next tile, where it was copied ahead.
static constexpr double kStartCycles = 1000, kStepCycles = 300;
/// Registers besides those of products and sums.
static constexpr int64_t kOtherRegisters = 72;
/// The same for heads of `depth` elements: long ones have more operands and
/// addresses, as the assembler's counts show.
static int64_t countOtherRegisters(int64_t depth) {
  return kOtherRegisters + std::max<int64_t>(0, depth - 64) * 3 / 8;
}
/// Instructions for a weight: its exponent, mask, maximum and sums.
static constexpr double kWeightInstructions = 10;

/// Operands, results and what lies beside them, each once.
static double countMemoryBytes(Operation *op) {
  double bytes = 0;
  auto add = [&](Type type) {
    auto tensor = cast<RankedTensorType>(type);
    bytes +=
        double(tensor.getNumElements()) * tensor.getElementTypeBitWidth() / 8;
  };
  llvm::for_each(op->getOperandTypes(), add);
  llvm::for_each(op->getResultTypes(), add);
  return bytes;
}

static std::string findSharedFault(int64_t bytes, const GPUChip &chip) {
  if (bytes <= chip.maxSharedBytes)
    return "";
  return llvm::formatv("at most {0} bytes of shared memory on {1}, not {2}",
                       chip.maxSharedBytes, chip.name, bytes);
}

//===----------------------------------------------------------------------===//
// Tiles
//===----------------------------------------------------------------------===//

BlockNeeds attention::getBlockNeeds(const Sizes &sizes, const TileNeeds &needs,
                                    const TileSizes &tile) {
  auto schedule = createSchedule(sizes, needs, tile);
  int64_t threads = schedule->getThreads();
  int64_t depth =
      fitsTensorCores(sizes) ? llvm::alignTo(sizes.headDim, 16) : sizes.headDim;
  int64_t held = tile.rows *
                 (needs.rowTiles * tile.columns + needs.sums * depth) / threads;
  return {threads, schedule->getSharedBytes(),
          std::min<int64_t>(255, countOtherRegisters(depth) + held)};
}

BlockNeeds attention::getBlockNeeds(const Sizes &sizes, TileKinds kinds) {
  BlockNeeds most{};
  for (const auto &[needs, tile] : kinds) {
    BlockNeeds own = getBlockNeeds(sizes, needs, tile);
    most = {own.threads, std::max(most.sharedBytes, own.sharedBytes),
            std::max(most.registers, own.registers)};
  }
  return most;
}

int64_t attention::countBlocksTogether(const GPUTarget &target,
                                       const Sizes &sizes, TileKinds kinds) {
  if (!fitsTensorCores(sizes))
    return 1;
  return countResidentBlocks(*target.chip, getBlockNeeds(sizes, kinds));
}

namespace {
/// Blocks of one kind: the prefix of their fields, and what they keep.
struct TiledLaunch {
  StringLiteral prefix;
  TileNeeds needs;
  /// Their rows are keys, and their columns queries of all heads that read
  /// them.
  bool keepsKeys = false;
};

class TiledModel : public LaunchModel {
public:
  TiledModel(const GPUTarget &target, ArrayRef<Operation *> ops,
             const Sizes &opSizes, ScheduleFamily family)
      : LaunchModel(target, family), sizes(opSizes), expected(opSizes) {
    setOps(ops);
    expected.routedRows = int64_t(
        std::ceil(double(sizes.routedRows) * getExpectedShare(ops.front())));
    if (family == ScheduleFamily::Attention)
      launches = {{"", getForwardNeeds(sizes)}};
    else
      launches = {{"key_", getKeyGradNeeds(sizes), /*keepsKeys=*/true},
                  {"query_", getQueryGradNeeds(sizes)}};
  }

  SmallVector<ScheduleAttr> listCandidates() const override;
  std::string findFault(ScheduleAttr schedule) const override;
  SmallVector<LaunchWork> describe(ScheduleAttr schedule) const override;

private:
  SmallVector<TileSizes> listTiles(const TiledLaunch &launch,
                                   ArrayRef<int64_t> warpCounts) const;
  ScheduleAttr chooseTiles(ArrayRef<int64_t> warpCounts) const;
  std::string findFault(const TiledLaunch &launch, const TileSizes &tile) const;
  LaunchWork describe(const TiledLaunch &launch, const TileSizes &tile) const;
  BlockWork describeStep(const TiledLaunch &launch,
                         const TileSizes &tile) const;
  double countSteps(const TiledLaunch &launch, const TileSizes &tile) const;

  const Sizes sizes;
  /// With as many routed rows as are expected to count.
  Sizes expected;
  SmallVector<TiledLaunch, 2> launches;
};
} // namespace

SmallVector<TileSizes>
TiledModel::listTiles(const TiledLaunch &launch,
                      ArrayRef<int64_t> warpCounts) const {
  SmallVector<TileSizes> tiles;
  for (int64_t warps : warpCounts)
    for (int64_t columns : {64, 32, 16})
      for (int64_t rows = 16; rows <= 256; rows *= 2)
        if (TileSizes tile{rows, columns, warps};
            findFault(launch, tile).empty())
          tiles.push_back(tile);
  return tiles;
}

/// The best tiles of each kind of blocks, with one of these numbers of warps;
/// null where a kind has none.
ScheduleAttr TiledModel::chooseTiles(ArrayRef<int64_t> warpCounts) const {
  SmallVector<int64_t> values;
  for (const TiledLaunch &launch : launches) {
    SmallVector<TileSizes> tiles = listTiles(launch, warpCounts);
    std::optional<size_t> best =
        chooseBest(llvm::map_to_vector(tiles, [&](const TileSizes &tile) {
          return estimateCycles(*getTarget().chip, describe(launch, tile));
        }));
    if (!best)
      return ScheduleAttr();
    const TileSizes &tile = tiles[*best];
    values.append({tile.rows, tile.columns, tile.warps});
  }
  return ScheduleAttr::get(getContext(), getFamily(), values);
}

/// Kinds with as many warps share a launch; else the best of each is best of
/// all.
SmallVector<ScheduleAttr> TiledModel::listCandidates() const {
  constexpr int64_t warpCounts[] = {4, 8, 2, 1};
  SmallVector<ScheduleAttr> list;
  if (launches.size() > 1)
    for (int64_t warps : warpCounts)
      list.push_back(chooseTiles(warps));
  list.push_back(chooseTiles(warpCounts));
  llvm::erase(list, ScheduleAttr());
  return list;
}

std::string TiledModel::findFault(const TiledLaunch &launch,
                                  const TileSizes &tile) const {
  std::string fault = attention::findFault(sizes, launch.needs, tile);
  if (!fault.empty())
    return fault;
  return findSharedFault(
      createSchedule(sizes, launch.needs, tile)->getSharedBytes(),
      *getTarget().chip);
}

std::string TiledModel::findFault(ScheduleAttr schedule) const {
  for (const TiledLaunch &launch : launches) {
    std::string fault =
        findFault(launch, TileSizes::from(schedule, launch.prefix.str()));
    if (!fault.empty())
      return fault;
  }
  return "";
}

/// Tiles of columns that a block meets, on average. Routed queries are taken to
/// be spread evenly: between two of them lie as many keys as there are more.
double TiledModel::countSteps(const TiledLaunch &launch,
                              const TileSizes &tile) const {
  int64_t queries = sizes.isRouted()
                        ? llvm::divideCeil(expected.routedRows, sizes.batch)
                        : sizes.length;
  int64_t keys = sizes.routesKeys ? queries : sizes.length;
  int64_t rows = launch.keepsKeys ? keys : queries;
  int64_t columns = launch.keepsKeys ? queries : keys;
  int64_t span = std::min(sizes.getSpan(), keys) * columns / keys;
  int64_t tiles = llvm::divideCeil(rows, tile.rows), steps = 0;
  for (int64_t first = 0; first < rows; first += tile.rows) {
    int64_t last = std::min(first + tile.rows, rows);
    int64_t begin = first * columns / rows, end = last * columns / rows;
    if (launch.keepsKeys)
      end = std::min(end + span - 1, columns);
    else
      begin = std::max<int64_t>(0, begin - span + 1);
    steps += llvm::divideCeil(end, tile.columns) - begin / tile.columns;
  }
  return double(steps) / double(tiles) *
         double(launch.keepsKeys ? sizes.getGroup() : 1);
}

/// Bytes of shared memory that a block's f32 products take for each element of
/// heads: a warp's load of four elements of a row or a column for each of its
/// threads is four passes over all banks, though threads share them.
static double countLoads(const Sizes &sizes, const TileNeeds &needs,
                         const TileSizes &tile) {
  constexpr double passBytes = 128;
  auto columnLanes = double(getColumnLanes(sizes, needs));
  double rowLanes = double(tile.warps * kWarpSize) / columnLanes;
  return double(tile.warps) * passBytes *
         (double(tile.rows) / rowLanes + double(tile.columns) / columnLanes);
}

BlockWork TiledModel::describeStep(const TiledLaunch &launch,
                                   const TileSizes &tile) const {
  bool onTensorCores = fitsTensorCores(sizes);
  const GPUChip &chip = *getTarget().chip;
  double weights = double(tile.rows * tile.columns);
  // Rows by columns, and columns added up by weights.
  double products = double(launch.needs.rowTiles + launch.needs.sums);
  double multiplied = weights * double(sizes.headDim) * products;
  BlockWork work;
  work.unitCycles = multiplied / (onTensorCores ? chip.bf16Rate : chip.f32Rate);
  work.instructions = weights / kWarpSize * kWeightInstructions +
                      multiplied / (onTensorCores ? 16 * 8 * 16 : kWarpSize);
  work.globalBytes = double(launch.needs.columnTiles * tile.columns *
                            sizes.headDim * sizes.getElementBytes());
  work.sharedBytes =
      work.globalBytes +
      products * double(sizes.headDim) *
          (onTensorCores ? 2.0 * double(tile.rows + tile.warps * tile.columns)
                         : countLoads(sizes, launch.needs, tile));
  work.waitCycles = onTensorCores ? kStepCycles : kStepCycles + kMemoryLatency;
  return work;
}

LaunchWork TiledModel::describe(const TiledLaunch &launch,
                                const TileSizes &tile) const {
  double depth = double(sizes.headDim);
  LaunchWork work;
  work.needs = getBlockNeeds(sizes, launch.needs, tile);
  BlockWork &blocks = work.parts.emplace_back(describeStep(launch, tile));
  int64_t sequences = sizes.routesKeys ? 1 : sizes.batch;
  blocks.blocks =
      double(launch.keepsKeys ? countKeyTiles(expected, tile.rows) *
                                    sizes.kvHeads * sequences
                              : countQueryTiles(expected, tile.rows));
  blocks.steps = countSteps(launch, tile);
  blocks.startCycles = kStartCycles;
  blocks.leaveBytes = double(tile.rows) * depth * double(launch.needs.sums) *
                      double(sizes.getElementBytes());
  work.memoryBytes = countMemoryBytes(getOps().front());
  return work;
}

SmallVector<LaunchWork> TiledModel::describe(ScheduleAttr schedule) const {
  SmallVector<LaunchWork> works;
  SmallVector<std::pair<TileNeeds, TileSizes>> kinds;
  for (const TiledLaunch &launch : launches) {
    auto tile = TileSizes::from(schedule, launch.prefix.str());
    works.push_back(describe(launch, tile));
    kinds.push_back({launch.needs, tile});
  }
  bool isOneLaunch = llvm::all_of(kinds, [&](const auto &kind) {
    return kind.second.warps == kinds.front().second.warps;
  });
  if (isOneLaunch)
    for (LaunchWork &work : works) {
      work.needs = getBlockNeeds(sizes, kinds);
      work.isPhase = &work != works.begin();
    }
  return works;
}

//===----------------------------------------------------------------------===//
// Caches
//===----------------------------------------------------------------------===//

namespace {
class CachedModel : public LaunchModel {
public:
  CachedModel(const GPUTarget &target, ArrayRef<Operation *> ops,
              const Sizes &opSizes)
      : LaunchModel(target, ScheduleFamily::CachedAttention), sizes(opSizes) {
    setOps(ops);
  }

  SmallVector<ScheduleAttr> listCandidates() const override {
    SmallVector<ScheduleAttr> list;
    for (int64_t warps : {8, 4, 16, 2, 32, 1})
      list.push_back(ScheduleAttr::get(getContext(), getFamily(), warps));
    return list;
  }
  std::string findFault(ScheduleAttr schedule) const override {
    return findSharedFault(getCachedSharedBytes(sizes, schedule.get("warps")),
                           *getTarget().chip);
  }
  SmallVector<LaunchWork> describe(ScheduleAttr schedule) const override;

private:
  const Sizes sizes;
};
} // namespace

/// A cache that is half full: a warp waits for a key and value at a time, and
/// all of them for one another at the end.
SmallVector<LaunchWork> CachedModel::describe(ScheduleAttr schedule) const {
  constexpr double joinCycles = 30;
  int64_t warps = schedule.get("warps");
  int64_t seen = std::min(sizes.getSpan(), sizes.length / 2 + 1);
  LaunchWork work;
  work.needs = {warps * kWarpSize, getCachedSharedBytes(sizes, warps),
                kOtherRegisters + llvm::divideCeilSigned(sizes.headDim, 8)};
  BlockWork &blocks = work.parts.emplace_back();
  blocks.blocks =
      double((sizes.isRouted() ? sizes.routedRows : sizes.batch) * sizes.heads);
  blocks.steps = double(llvm::divideCeil(seen, warps));
  blocks.waitCycles = kMemoryLatency;
  blocks.globalBytes = double(std::min(warps, seen) * 2 * sizes.headDim *
                              sizes.getElementBytes());
  blocks.startCycles = kStartCycles + joinCycles * double(warps);
  work.memoryBytes = blocks.blocks / double(sizes.getGroup()) * double(seen) *
                     2 * double(sizes.headDim * sizes.getElementBytes());
  return {work};
}

std::unique_ptr<LaunchModel> attention::createModel(const GPUTarget &target,
                                                    ArrayRef<Operation *> ops,
                                                    const Sizes &sizes,
                                                    ScheduleFamily family) {
  if (family == ScheduleFamily::CachedAttention)
    return std::make_unique<CachedModel>(target, ops, sizes);
  return std::make_unique<TiledModel>(target, ops, sizes, family);
}
