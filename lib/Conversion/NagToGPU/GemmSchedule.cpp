// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The choice of a GEMM's schedule: of a few schedules, the one that a model of
// a multiprocessor takes for the fastest.
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

//===----------------------------------------------------------------------===//
// The model
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

/// Bytes per cycle of one multiprocessor, from the second-level cache and from
/// shared memory.
static constexpr double kGlobalRate = 40, kSharedRate = 128;
/// Cycles: a block's start until its first tile is there, a step along k that
/// nothing else hides, the wait for the last part of a split sum.
static constexpr double kStartCycles = 1000, kStepCycles = 300,
                        kPartCycles = 3000;
/// Warps that keep a multiprocessor's units busy.
static constexpr double kBusyWarps = 8;

namespace {
/// The model's view of one schedule for the products of one launch.
class Estimate {
public:
  Estimate(ArrayRef<Product> launched, const Schedule &gemmSchedule,
           const GPUChip &gpuChip)
      : products(launched), problem(products.front().getFirst()),
        schedule(gemmSchedule), chip(gpuChip) {}

  bool fits() const { return countResident() > 0; }
  double getCycles() const;

private:
  int64_t countBlocks(const Product &product) const {
    return llvm::divideCeilSigned(product.getFirst().m, schedule.tileM) *
           llvm::divideCeilSigned(product.getFirst().n, schedule.tileN) *
           schedule.splitK;
  }
  int64_t countSteps(const Product &product) const;
  int64_t countResident() const;
  double getStepCycles(double resident) const;
  double getSplitCycles() const;

  ArrayRef<Product> products;
  const Problem &problem;
  const Schedule &schedule;
  const GPUChip &chip;
};
} // namespace

/// Steps along the k of all terms.
int64_t Estimate::countSteps(const Product &product) const {
  int64_t steps = 0;
  for (const Problem &term : product.terms)
    steps += llvm::divideCeilSigned(term.k, schedule.tileK * schedule.splitK);
  return steps;
}

/// Blocks that one multiprocessor holds at once.
int64_t Estimate::countResident() const {
  int64_t sums = schedule.getWarpTileM() * schedule.getWarpTileN() / 32;
  int64_t sharedBytes = 0;
  for (const Product &product : products)
    sharedBytes = std::max(sharedBytes, getSharedBytes(product, schedule));
  return countResidentBlocks(
      chip, {schedule.getThreads(), sharedBytes,
             /*registers=*/std::min<int64_t>(255, 48 + sums * 3 / 2)});
}

/// One step along k of one block, when `resident` blocks share a
/// multiprocessor.
double Estimate::getStepCycles(double resident) const {
  double warps = resident * schedule.warpsM * schedule.warpsN;
  double multiply = schedule.tileM * schedule.tileN * schedule.tileK /
                    getRate(problem.unit, chip) /
                    std::min(1.0, warps / kBusyWarps);
  // Threads of a warp, 4 x 8, load what they multiply in between.
  if (problem.unit == Unit::FMA)
    multiply *=
        1 + 4.0 / schedule.getWarpTileM() + 8.0 / schedule.getWarpTileN();
  double lineBytes = schedule.tileK * problem.a.getElementBytes();
  double copied = (schedule.tileM + schedule.tileN) * lineBytes;
  double read =
      (schedule.tileM * schedule.warpsN + schedule.tileN * schedule.warpsM) *
      lineBytes;
  return std::max({multiply, copied / kGlobalRate,
                   (copied + read) / kSharedRate, kStepCycles / resident});
}

/// Parts written, read again and added up by the last block of a tile.
double Estimate::getSplitCycles() const {
  double bytes = 0;
  for (const Product &product : products)
    bytes +=
        8.0 * product.getFirst().m * product.getFirst().n * schedule.splitK;
  return kPartCycles + bytes / kGlobalRate / chip.multiprocessors;
}

double Estimate::getCycles() const {
  int64_t blocks = 0;
  for (const Product &product : products)
    blocks += countBlocks(product);
  int64_t perMultiprocessor =
      llvm::divideCeilSigned(blocks, chip.multiprocessors);
  int64_t resident = std::min(perMultiprocessor, countResident());
  double leave = schedule.tileM * schedule.tileN * 4 / kGlobalRate;
  double work = 0;
  for (const Product &product : products)
    work +=
        countBlocks(product) * (countSteps(product) * getStepCycles(resident) +
                                leave + kStartCycles / resident);
  double cycles = perMultiprocessor * work / blocks;
  // It must be worth it.
  return schedule.splitK == 1 ? cycles : 1.1 * (cycles + getSplitCycles());
}

double gemm::estimateCycles(ArrayRef<Product> products,
                            const Schedule &schedule, const GPUTarget &target) {
  Estimate estimate(products, schedule, *target.chip);
  return estimate.fits() ? estimate.getCycles()
                         : std::numeric_limits<double>::infinity();
}

/// A split keeps enough k for its pipeline to fill.
static bool mayBeSplit(ArrayRef<Product> products, const Schedule &schedule,
                       int64_t split) {
  int64_t least = schedule.tileK * split * 2 * schedule.stages;
  return llvm::none_of(products, hasRoute) &&
         llvm::all_of(products, [&](const Product &product) {
           return llvm::all_of(product.terms, [&](const Problem &term) {
             return term.k >= least;
           });
         });
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

Schedule gemm::chooseSchedule(ArrayRef<Product> products,
                              const GPUTarget &target) {
  const Problem &first = products.front().getFirst();
  ArrayRef<Schedule> schedules = getSchedules(first.unit);
  Schedule best = schedules.front();
  double least = std::numeric_limits<double>::infinity();
  for (Schedule schedule : schedules) {
    schedule = widenWarps(schedule, getSpan(products));
    if (!findFault(products, schedule, target).empty())
      continue;
    for (int64_t split = 1; split == 1 || mayBeSplit(products, schedule, split);
         split *= 2) {
      schedule.splitK = split;
      double cycles = estimateCycles(products, schedule, target);
      if (cycles >= least)
        continue;
      least = cycles;
      best = schedule;
    }
  }
  return best;
}
