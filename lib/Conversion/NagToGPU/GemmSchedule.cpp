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
/// The model's view of one schedule for one problem.
class Estimate {
public:
  Estimate(const Problem &gemmProblem, const Schedule &gemmSchedule,
           const GPUTarget &gpuTarget)
      : problem(gemmProblem), schedule(gemmSchedule), target(gpuTarget) {}

  bool fits() const { return countResident() > 0; }
  double getCycles() const;

private:
  int64_t countBlocks() const {
    return llvm::divideCeilSigned(problem.m, schedule.tileM) *
           llvm::divideCeilSigned(problem.n, schedule.tileN) * schedule.splitK;
  }
  int64_t countResident() const;
  double getStepCycles(double resident) const;
  double getSplitCycles() const;

  const Problem &problem;
  const Schedule &schedule;
  const GPUTarget &target;
};
} // namespace

/// Blocks that one multiprocessor holds at once.
int64_t Estimate::countResident() const {
  int64_t threads = schedule.getThreads();
  int64_t sums = schedule.getWarpTileM() * schedule.getWarpTileN() / 32;
  int64_t registers = std::min<int64_t>(255, 48 + sums * 3 / 2);
  int64_t byRegisters = 65536 / (registers * threads);
  int64_t bySharedMemory =
      target.maxSharedBytes / (getSharedBytes(problem, schedule) + 1024);
  return std::min({byRegisters, bySharedMemory, 2048 / threads});
}

/// One step along k of one block, when `resident` blocks share a
/// multiprocessor.
double Estimate::getStepCycles(double resident) const {
  double warps = resident * schedule.warpsM * schedule.warpsN;
  double multiply = schedule.tileM * schedule.tileN * schedule.tileK /
                    getRate(problem.unit, target) /
                    std::min(1.0, warps / kBusyWarps);
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
  if (schedule.splitK == 1)
    return 0;
  double bytes = 8.0 * problem.m * problem.n * schedule.splitK;
  return kLaunchCycles + bytes / kGlobalRate / target.multiprocessors;
}

double Estimate::getCycles() const {
  int64_t perMultiprocessor =
      llvm::divideCeilSigned(countBlocks(), target.multiprocessors);
  int64_t resident = std::min(perMultiprocessor, countResident());
  int64_t steps =
      llvm::divideCeilSigned(problem.k, schedule.tileK * schedule.splitK);
  double leave = schedule.tileM * schedule.tileN * 4 / kGlobalRate;
  double block =
      steps * getStepCycles(resident) + leave + kStartCycles / resident;
  return perMultiprocessor * block + getSplitCycles();
}

/// A split keeps enough k for its pipeline to fill.
static bool mayBeSplit(const Problem &problem, const Schedule &schedule,
                       int64_t split) {
  return problem.k / (schedule.tileK * split) >= 2 * schedule.stages;
}

Schedule gemm::chooseSchedule(const Problem &problem, const GPUTarget &target) {
  ArrayRef<Schedule> schedules = getSchedules(problem.unit);
  Schedule best = schedules.back();
  double least = std::numeric_limits<double>::infinity();
  for (Schedule schedule : schedules)
    for (int64_t split = 1; split == 1 || mayBeSplit(problem, schedule, split);
         split *= 2) {
      schedule.splitK = split;
      Estimate estimate(problem, schedule, target);
      if (!estimate.fits() || estimate.getCycles() >= least)
        continue;
      least = estimate.getCycles();
      best = schedule;
    }
  return best;
}
