// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a GEMM's schedule may be, and what its blocks then do.
#include "Gemm.h"

#include "llvm/Support/FormatVariadic.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

//===----------------------------------------------------------------------===//
// The attribute
//===----------------------------------------------------------------------===//

ScheduleAttr gemm::toAttr(const Schedule &schedule, MLIRContext *context) {
  int64_t values[] = {schedule.tileM,  schedule.tileN,  schedule.tileK,
                      schedule.warpsM, schedule.warpsN, schedule.stages,
                      schedule.splitK};
  return ScheduleAttr::get(context, ScheduleFamily::Gemm, values);
}

Schedule gemm::fromAttr(ScheduleAttr attr) {
  ArrayRef<int64_t> tile = attr.getSizes("tile"),
                    warps = attr.getSizes("warps");
  return {tile[0],
          tile[1],
          tile[2],
          warps[0],
          warps[1],
          attr.get("stages"),
          attr.get("split_k")};
}

static std::string findFault(const Problem &problem, const Schedule &schedule,
                             const GPUTarget &target) {
  int64_t rows = schedule.getWarpTileM(), columns = schedule.getWarpTileN();
  if (problem.unit == Unit::FMA) {
    bool isSquare =
        (rows == 16 || rows == 32) && (columns == 32 || columns == 64);
    if (!isSquare && !(rows == 16 && columns == 128))
      return "warps that compute 16 or 32 rows and 32 or 64 columns, or 16 and "
             "128";
  } else if (rows % 16 != 0 || columns % 32 != 0 || rows * columns > 4096) {
    return "warps that compute a multiple of 16 rows and of 32 columns, at "
           "most 4096 sums";
  }
  int64_t least = problem.unit == Unit::BF16 ? 16 : 8;
  if (schedule.tileK < least || schedule.tileK > 128)
    return "a tile of k from " + std::to_string(least) + " to 128";
  int64_t bytes = getSharedBytes(problem, schedule);
  if (bytes > target.chip->maxSharedBytes)
    return llvm::formatv("at most {0} bytes of shared memory on {1}, not {2}",
                         target.chip->maxSharedBytes, target.chip->name, bytes);
  return "";
}

/// The columns that lanes of one warp hold together, for whatever product.
static int64_t getSpan(ArrayRef<Product> products) {
  int64_t span = 0;
  for (const Product &product : products)
    span = std::max(span, product.epilogue.getSpan());
  return span;
}

/// Selection counts the tiles of the scores, each made by one block.
static bool hasRoute(const Product &product) { return bool(product.route); }

std::string gemm::findFault(ArrayRef<Product> products,
                            const Schedule &schedule, const GPUTarget &target) {
  if (schedule.splitK > 1 && llvm::any_of(products, hasRoute))
    return "a 'split_k' of 1 for a product whose rows are selected";
  if (int64_t span = getSpan(products); schedule.getWarpTileN() < span)
    return llvm::formatv("warps that compute {0} columns, which an op behind "
                         "the product needs together",
                         span);
  for (const Product &product : products)
    for (const Problem &term : product.terms)
      if (std::string fault = ::findFault(term, schedule, target);
          !fault.empty())
        return fault;
  return "";
}

/// The shortest sum of the product's terms.
static int64_t getDepth(const Product &product) {
  int64_t depth = product.getFirst().getExpectedTerms();
  for (const Problem &term : product.terms)
    depth = std::min(depth, term.getExpectedTerms());
  return depth;
}

static int64_t getLongestDepth(ArrayRef<Product> products) {
  int64_t depth = 0;
  for (const Product &product : products)
    depth = std::max(depth, getDepth(product));
  return depth;
}

Schedule gemm::getOwnSchedule(const Product &product,
                              ArrayRef<Product> products, Schedule schedule) {
  // Rounded up: no part is longer than those of the longest sums.
  schedule.splitK = llvm::divideCeilSigned(schedule.splitK * getDepth(product),
                                           getLongestDepth(products));
  return schedule;
}

//===----------------------------------------------------------------------===//
// Candidates and work
//===----------------------------------------------------------------------===//

static constexpr Schedule kFMASchedules[] = {
    {128, 128, 16, 4, 2, 3, 1}, {64, 128, 16, 2, 2, 3, 1},
    {128, 64, 16, 4, 1, 3, 1},  {64, 64, 16, 4, 2, 3, 1},
    {32, 64, 16, 2, 2, 3, 1},   {64, 32, 16, 4, 1, 3, 1},
    {32, 32, 16, 2, 1, 3, 1}};
static constexpr Schedule kBF16Schedules[] = {
    {128, 256, 32, 2, 4, 3, 1}, {128, 128, 32, 2, 2, 4, 1},
    {128, 64, 32, 2, 2, 4, 1},  {64, 128, 32, 2, 2, 4, 1},
    {64, 64, 32, 2, 2, 4, 1},   {32, 64, 32, 1, 2, 4, 1},
    {64, 32, 32, 2, 1, 4, 1},   {32, 32, 32, 1, 1, 4, 1}};
static constexpr Schedule kTF32Schedules[] = {
    {128, 128, 32, 2, 2, 3, 1}, {128, 64, 32, 2, 2, 3, 1},
    {64, 128, 32, 2, 2, 3, 1},  {64, 64, 32, 2, 2, 3, 1},
    {32, 64, 32, 1, 2, 3, 1},   {64, 32, 32, 2, 1, 3, 1},
    {32, 32, 32, 1, 1, 3, 1}};

static ArrayRef<Schedule> getSchedules(Unit unit) {
  switch (unit) {
  case Unit::FMA:
    return kFMASchedules;
  case Unit::BF16:
    return kBF16Schedules;
  case Unit::TF32:
    return kTF32Schedules;
  }
  llvm_unreachable("a unit without schedules");
}

/// Multiply-adds per cycle of one multiprocessor.
static double getRate(Unit unit, const GPUChip &chip) {
  switch (unit) {
  case Unit::FMA:
    return chip.f32Rate;
  case Unit::BF16:
    return chip.bf16Rate;
  case Unit::TF32:
    return chip.tf32Rate;
  }
  llvm_unreachable("a unit without a rate");
}

/// Cycles: a block's start until its first tile is there, a step along k that
/// nothing else hides, the wait for the last part of a split sum, and for
/// elements of a part that are in the second-level cache.
static constexpr double kStartCycles = 1000, kStepCycles = 300,
                        kPartCycles = 3000, kCacheLatency = 300;

/// What the operand's prologue adds to a step: its elements pass the units, as
/// often as warps share the `rows` of a fragment, or they go to shared memory
/// and back.
static void addPrologue(const Operand &operand, int64_t rows, int64_t sharers,
                        const Problem &problem, const Schedule &schedule,
                        const GPUChip &chip, BlockWork &work) {
  if (!operand.prologue)
    return;
  double elements = double(rows * schedule.tileK);
  double bytes = double(operand.getElementBytes());
  double instructions = double(operand.prologue->countInstructions());
  // To f32 and, two at a time, back.
  double conversions = bytes < 4 ? 1.5 : 0;
  if (changesFragments(operand, problem.unit)) {
    bool isPacked =
        problem.unit == Unit::BF16 && operand.prologue->worksOnPairs();
    double each = isPacked ? instructions / 2 : instructions + conversions;
    work.instructions += elements * double(sharers) * each / 32;
    return;
  }
  if (problem.unit == Unit::FMA)
    work.unitCycles += elements * instructions / chip.f32Rate;
  double vectors = 2 * bytes / 16;
  work.instructions += elements * (instructions + conversions + vectors) / 32;
  work.sharedBytes += 2 * elements * bytes;
}

/// Tiles of the result whose rows are expected to count.
static double countExpectedTiles(const Product &product,
                                 const Schedule &schedule) {
  const Problem &problem = product.getFirst();
  return double(
      llvm::divideCeilSigned(problem.getExpectedRows(), schedule.tileM) *
      llvm::divideCeilSigned(problem.n, schedule.tileN));
}

namespace {
/// How a sum is expected to be cut: its parts, and the tiles along k of one.
struct Cut {
  int64_t parts, steps;
};
} // namespace

static Cut getExpectedCut(const Problem &term, const Schedule &schedule) {
  int64_t terms = term.getExpectedTerms(), parts = schedule.splitK;
  if (term.countsK)
    parts = std::clamp<int64_t>(terms / getLeastTerms(schedule), 1, parts);
  int64_t tiles = llvm::divideCeilSigned(terms, schedule.tileK);
  int64_t steps = llvm::divideCeilSigned(tiles, parts);
  return {llvm::divideCeilSigned(tiles, steps), steps};
}

/// Parts of the product's split sum; others end at once.
static double countExpectedParts(const Product &product,
                                 const Schedule &schedule) {
  int64_t parts = 1;
  for (const Problem &term : product.terms)
    parts = std::max(parts, getExpectedCut(term, schedule).parts);
  return double(parts);
}

/// The blocks of one product.
static BlockWork describeBlocks(const Product &product,
                                const Schedule &schedule, const GPUChip &chip) {
  const Problem &problem = product.getFirst();
  BlockWork work;
  work.blocks = countExpectedTiles(product, schedule) *
                countExpectedParts(product, schedule);
  work.steps = 0;
  for (const Problem &term : product.terms)
    work.steps += double(getExpectedCut(term, schedule).steps);
  double outer = double(schedule.tileM) * double(schedule.tileN);
  work.unitCycles = outer * schedule.tileK / getRate(problem.unit, chip);
  // Threads of a warp, 4 x 8, load what they multiply in between.
  if (problem.unit == Unit::FMA)
    work.unitCycles *=
        1 + 4.0 / schedule.getWarpTileM() + 8.0 / schedule.getWarpTileN();
  double lineBytes = double(schedule.tileK * problem.a.getElementBytes());
  work.globalBytes = (schedule.tileM + schedule.tileN) * lineBytes;
  work.sharedBytes = work.globalBytes + (schedule.tileM * schedule.warpsN +
                                         schedule.tileN * schedule.warpsM) *
                                            lineBytes;
  addPrologue(problem.a, schedule.tileM, schedule.warpsN, problem, schedule,
              chip, work);
  addPrologue(problem.b, schedule.tileN, schedule.warpsM, problem, schedule,
              chip, work);
  work.waitCycles = kStepCycles;
  work.startCycles = kStartCycles;
  work.leaveBytes = outer * sizeof(float);
  return work;
}

/// Operands and the result, each once, of rows and terms that are expected to
/// count.
static double countMemoryBytes(const Product &product) {
  auto result = cast<RankedTensorType>(product.getFirst().result.getType());
  const Problem &first = product.getFirst();
  double bytes = double(first.getExpectedRows() * first.n) *
                 result.getElementTypeBitWidth() / 8;
  for (const Problem &term : product.terms)
    bytes += double(term.getExpectedTerms() *
                    (term.getExpectedRows() * term.a.getElementBytes() +
                     term.n * term.b.getElementBytes()));
  return bytes;
}

/// What the parts of split sums add: all but one go to memory and come back, to
/// the last block of their tile, which adds up some at a time while other
/// multiprocessors have nothing left to do.
static void addParts(ArrayRef<Product> products, const Schedule &schedule,
                     const GPUChip &chip, LaunchWork &work) {
  double bytes = double(schedule.tileM * schedule.tileN) * sizeof(float);
  // Sums of tensor cores leave by rows of a fragment, others 16 at a time.
  bool byFragments = products.front().getFirst().unit != Unit::FMA;
  double rows = double(schedule.getWarpTileM());
  double turns = byFragments ? rows / 16
                             : rows * double(schedule.getWarpTileN()) / 32 / 16;
  double tiles = 0, most = 0;
  for (const Product &product : products) {
    Schedule ownSchedule = getOwnSchedule(product, products, schedule);
    if (ownSchedule.splitK == 1)
      continue;
    double parts = countExpectedParts(product, ownSchedule) - 1;
    double own = countExpectedTiles(product, ownSchedule);
    work.memoryBytes += 2 * own * parts * bytes;
    tiles += own;
    most = std::max(most, parts);
  }
  double rounds = std::max(1.0, tiles / double(chip.multiprocessors));
  work.tailCycles = kPartCycles + most * turns * kCacheLatency +
                    rounds * most * bytes / kCacheRate;
}

BlockNeeds gemm::getNeeds(ArrayRef<Product> products,
                          const Schedule &schedule) {
  int64_t sums = schedule.getWarpTileM() * schedule.getWarpTileN() / 32;
  // Where blocks have an order, more is known of each and of what it awaits.
  double perSum = hasOrder(products) ? 2 : 1.5;
  BlockNeeds needs{schedule.getThreads(), 0,
                   std::min<int64_t>(255, 48 + int64_t(perSum * sums))};
  for (const Product &product : products)
    needs.sharedBytes =
        std::max(needs.sharedBytes, getSharedBytes(product, schedule));
  return needs;
}

LaunchWork gemm::describeWork(ArrayRef<Product> products,
                              const Schedule &schedule,
                              const GPUTarget &target) {
  LaunchWork work;
  work.needs = getNeeds(products, schedule);
  for (const Product &product : products) {
    Schedule own = getOwnSchedule(product, products, schedule);
    work.parts.push_back(describeBlocks(product, own, *target.chip));
    work.memoryBytes += countMemoryBytes(product);
  }
  if (schedule.splitK > 1)
    addParts(products, schedule, *target.chip, work);
  return work;
}

int64_t gemm::getLeastTerms(const Schedule &schedule) {
  return schedule.tileK * 2 * schedule.stages;
}

/// The longest sums, and so others, are split as far as their parts allow.
static bool mayBeSplit(ArrayRef<Product> products, const Schedule &schedule,
                       int64_t split) {
  return llvm::none_of(products, hasRoute) &&
         getLongestDepth(products) >= split * getLeastTerms(schedule);
}

/// The schedule with warps that compute at least `span` columns of the tile.
static Schedule widenWarps(Schedule schedule, int64_t span) {
  constexpr int64_t leastRows = 16;
  while (schedule.getWarpTileN() < span && schedule.warpsN > 1) {
    schedule.warpsN /= 2;
    if (schedule.getWarpTileM() >= 2 * leastRows)
      schedule.warpsM *= 2;
  }
  return schedule;
}

SmallVector<Schedule> gemm::listSchedules(ArrayRef<Product> products) {
  SmallVector<Schedule> list;
  for (Schedule schedule : getSchedules(products.front().getFirst().unit)) {
    schedule = widenWarps(schedule, getSpan(products));
    for (int64_t split = 1; split == 1 || mayBeSplit(products, schedule, split);
         split *= 2) {
      schedule.splitK = split;
      list.push_back(schedule);
    }
  }
  return list;
}
