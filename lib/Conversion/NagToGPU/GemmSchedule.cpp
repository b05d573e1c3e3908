// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The choice of a GEMM's schedule: of a few schedules, the one that a model of
// a multiprocessor takes for the fastest.
#include "Gemm.h"

#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "mlir/Dialect/Func/IR/FuncOps.h"

using namespace mlir;
using namespace nag;
using namespace nag::gemm;

//===----------------------------------------------------------------------===//
// The attribute
//===----------------------------------------------------------------------===//

DictionaryAttr gemm::toAttr(const Schedule &schedule, MLIRContext *context) {
  Builder builder(context);
  auto attr = [&](StringRef name, ArrayRef<int64_t> sizes) {
    Attribute value = sizes.size() == 1
                          ? Attribute(builder.getI64IntegerAttr(sizes.front()))
                          : builder.getI64ArrayAttr(sizes);
    return builder.getNamedAttr(name, value);
  };
  return builder.getDictionaryAttr(
      {attr("tile", {schedule.tileM, schedule.tileN, schedule.tileK}),
       attr("warps", {schedule.warpsM, schedule.warpsN}),
       attr("stages", schedule.stages), attr("split_k", schedule.splitK)});
}

static FailureOr<SmallVector<int64_t>> readSizes(Operation *op,
                                                 DictionaryAttr schedule,
                                                 StringRef name, size_t count) {
  SmallVector<Attribute> values;
  if (auto array = schedule.getAs<ArrayAttr>(name))
    values.assign(array.begin(), array.end());
  else if (Attribute value = schedule.get(name))
    values.push_back(value);
  SmallVector<int64_t> sizes;
  for (Attribute value : values)
    if (auto integer = dyn_cast<IntegerAttr>(value))
      sizes.push_back(integer.getInt());
  if (values.size() != count || sizes.size() != count)
    return op->emitOpError("expected ")
           << count << " integers as '" << name << "' of '" << kScheduleAttrName
           << "', but got " << schedule;
  return sizes;
}

static FailureOr<Schedule> fromAttr(Operation *op, DictionaryAttr attr) {
  auto tile = readSizes(op, attr, "tile", 3);
  auto warps = readSizes(op, attr, "warps", 2);
  auto stages = readSizes(op, attr, "stages", 1);
  auto splitK = attr.get("split_k") ? readSizes(op, attr, "split_k", 1)
                                    : SmallVector<int64_t>{1};
  if (failed(tile) || failed(warps) || failed(stages) || failed(splitK))
    return failure();
  return Schedule{(*tile)[0],  (*tile)[1],   (*tile)[2],  (*warps)[0],
                  (*warps)[1], (*stages)[0], (*splitK)[0]};
}

/// What any unit's code can do; else what it expects.
static std::optional<std::string> findFault(const Schedule &schedule) {
  for (int64_t size : {schedule.tileM, schedule.tileN, schedule.tileK,
                       schedule.warpsM, schedule.warpsN})
    if (size < 1 || size > 256 || !llvm::isPowerOf2_64(size))
      return "powers of two up to 256 as 'tile' and 'warps'";
  if (schedule.warpsM > schedule.tileM || schedule.warpsN > schedule.tileN ||
      schedule.getThreads() > 1024)
    return "at most 32 'warps', each with a part of the tile";
  if (schedule.stages < 2 || schedule.stages > 16)
    return "2 to 16 'stages'";
  if (schedule.splitK < 1 || schedule.splitK > 65535)
    return "a 'split_k' from 1 to 65535";
  return std::nullopt;
}

/// The same for one problem on one chip.
static std::optional<std::string> findFault(const Problem &problem,
                                            const Schedule &schedule,
                                            const GPUTarget &target) {
  int64_t rows = schedule.getWarpTileM(), columns = schedule.getWarpTileN();
  auto isFMASize = [](int64_t size) { return size == 4 || size == 8; };
  if (problem.unit == Unit::FMA) {
    if (rows % 4 != 0 || columns % 8 != 0 || !isFMASize(rows / 4) ||
        !isFMASize(columns / 8))
      return "warps that compute 16 or 32 rows and 32 or 64 columns";
  } else if (rows % 16 != 0 || columns % 32 != 0 || rows * columns > 4096) {
    return "warps that compute a multiple of 16 rows and of 32 columns, at "
           "most 4096 sums";
  }
  int64_t least = problem.unit == Unit::BF16 ? 16 : 8;
  if (schedule.tileK < least || schedule.tileK > 128)
    return "a tile of k from " + std::to_string(least) + " to 128";
  if (getSharedBytes(problem, schedule) > target.maxSharedBytes)
    return "at most " + std::to_string(target.maxSharedBytes) +
           " bytes of shared memory";
  return std::nullopt;
}

/// The same for all products of a launch.
static std::optional<std::string> findFault(ArrayRef<Product> products,
                                            const Schedule &schedule,
                                            const GPUTarget &target) {
  if (std::optional<std::string> fault = findFault(schedule))
    return fault;
  if (schedule.splitK > 1 &&
      (products.size() > 1 || products.front().terms.size() > 1))
    return "a 'split_k' of 1 for several products";
  for (const Product &product : products)
    for (const Problem &term : product.terms)
      if (std::optional<std::string> fault = findFault(term, schedule, target))
        return fault;
  return std::nullopt;
}

FailureOr<Schedule> gemm::getSchedule(Operation *op, ArrayRef<Product> products,
                                      const GPUTarget &target) {
  Attribute attr = op->getAttr(kScheduleAttrName);
  if (!attr)
    attr = op->getParentOfType<func::FuncOp>()->getAttr(kScheduleAttrName);
  if (!attr)
    return chooseSchedule(products, target);
  auto dictionary = dyn_cast<DictionaryAttr>(attr);
  if (!dictionary)
    return op->emitOpError("expected a dictionary as '")
           << kScheduleAttrName << "', but got " << attr;
  FailureOr<Schedule> schedule = fromAttr(op, dictionary);
  if (failed(schedule))
    return failure();
  if (std::optional<std::string> fault = findFault(products, *schedule, target))
    return op->emitOpError("expected a schedule with ")
           << *fault << ", but got " << attr;
  return schedule;
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

/// Multiply-adds per cycle of one multiprocessor: A100 and H100 whitepapers;
/// mma.sync reaches about 0.6 of an H100's tensor cores.
static double getRate(Unit unit, const GPUTarget &target) {
  bool isHopper = target.chip != "sm_80";
  switch (unit) {
  case Unit::FMA:
    return isHopper ? 128 : 64;
  case Unit::BF16:
    return isHopper ? 1200 : 1024;
  case Unit::TF32:
    return isHopper ? 600 : 512;
  }
  llvm_unreachable("a unit without a rate");
}

/// Bytes per cycle of one multiprocessor, from the second-level cache and from
/// shared memory.
static constexpr double kGlobalRate = 40, kSharedRate = 128;
/// Cycles: a block's start until its first tile is there, a step along k that
/// nothing else hides, a launch.
static constexpr double kStartCycles = 1000, kStepCycles = 300,
                        kLaunchCycles = 4000;
/// Warps that keep a multiprocessor's units busy.
static constexpr double kBusyWarps = 8;

namespace {
/// The model's view of one schedule for the products of one launch.
class Estimate {
public:
  Estimate(ArrayRef<Product> launched, const Schedule &gemmSchedule,
           const GPUTarget &gpuTarget)
      : products(launched), problem(products.front().getFirst()),
        schedule(gemmSchedule), target(gpuTarget) {}

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
  const GPUTarget &target;
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
  int64_t threads = schedule.getThreads();
  int64_t sums = schedule.getWarpTileM() * schedule.getWarpTileN() / 32;
  int64_t registers = std::min<int64_t>(255, 48 + sums * 3 / 2);
  int64_t byRegisters = 65536 / (registers * threads);
  int64_t sharedBytes = 0;
  for (const Product &product : products)
    sharedBytes = std::max(sharedBytes, getSharedBytes(product, schedule));
  int64_t bySharedMemory = target.maxSharedBytes / (sharedBytes + 1024);
  return std::min({byRegisters, bySharedMemory, 2048 / threads});
}

/// One step along k of one block, when `resident` blocks share a
/// multiprocessor.
double Estimate::getStepCycles(double resident) const {
  double warps = resident * schedule.warpsM * schedule.warpsN;
  double multiply = schedule.tileM * schedule.tileN * schedule.tileK /
                    getRate(problem.unit, target) /
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

/// Parts written, read again and added up in a second launch.
double Estimate::getSplitCycles() const {
  double bytes = 8.0 * problem.m * problem.n * schedule.splitK;
  return kLaunchCycles + bytes / kGlobalRate / target.multiprocessors;
}

double Estimate::getCycles() const {
  int64_t blocks = 0;
  for (const Product &product : products)
    blocks += countBlocks(product);
  int64_t perMultiprocessor =
      llvm::divideCeilSigned(blocks, target.multiprocessors);
  int64_t resident = std::min(perMultiprocessor, countResident());
  double leave = schedule.tileM * schedule.tileN * 4 / kGlobalRate;
  double work = 0;
  for (const Product &product : products)
    work +=
        countBlocks(product) * (countSteps(product) * getStepCycles(resident) +
                                leave + kStartCycles / resident);
  double cycles = perMultiprocessor * work / blocks;
  // A second launch must be worth it.
  return schedule.splitK == 1 ? cycles : 1.1 * (cycles + getSplitCycles());
}

/// A split keeps enough k for its pipeline to fill.
static bool mayBeSplit(const Problem &problem, const Schedule &schedule,
                       int64_t split) {
  return problem.k / (schedule.tileK * split) >= 2 * schedule.stages;
}

Schedule gemm::chooseSchedule(ArrayRef<Product> products,
                              const GPUTarget &target) {
  const Problem &first = products.front().getFirst();
  bool isAlone = products.size() == 1 && products.front().terms.size() == 1;
  ArrayRef<Schedule> schedules = getSchedules(first.unit);
  Schedule best = schedules.back();
  double least = std::numeric_limits<double>::infinity();
  for (Schedule schedule : schedules)
    for (int64_t split = 1;
         split == 1 || (isAlone && mayBeSplit(first, schedule, split));
         split *= 2) {
      schedule.splitK = split;
      Estimate estimate(products, schedule, target);
      if (!estimate.fits() || estimate.getCycles() >= least)
        continue;
      least = estimate.getCycles();
      best = schedule;
    }
  return best;
}
