// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The choice of schedules: what every family of kernels says of the launches
// that it would make, and the one model of a chip that compares them.
#ifndef NAG_CONVERSION_LAUNCHMODEL_H
#define NAG_CONVERSION_LAUNCHMODEL_H

#include "nag/Conversion/GPUChips.h"
#include "nag/Dialect/Nag/IR/NagSchedule.h"

#include "mlir/IR/Operation.h"
#include "llvm/ADT/SmallVector.h"

#include <optional>

namespace nag {

struct GPUTarget;

//===----------------------------------------------------------------------===//
// The model of a chip
//===----------------------------------------------------------------------===//

/// Blocks that do the same, in steps one after the other. What a step takes is
/// its longest part: multiprocessors do all of them at once.
struct BlockWork {
  double blocks = 0;
  double steps = 1;
  /// Of a step: cycles of a multiprocessor's arithmetic units; bytes to and
  /// from the second-level cache, and of shared memory; instructions of warps.
  double unitCycles = 0, globalBytes = 0, sharedBytes = 0, instructions = 0;
  /// Of a step, and of a block's start: cycles of waiting, which nothing but
  /// other blocks hide.
  double waitCycles = 0, startCycles = 0;
  /// Bytes that leave at a block's end.
  double leaveBytes = 0;
};

/// A launch, or a phase of one: what a block asks for, and what all blocks do.
struct LaunchWork {
  BlockNeeds needs{};
  llvm::SmallVector<BlockWork, 1> parts;
  /// Distinct bytes of the device's memory that go in and out.
  double memoryBytes = 0;
  /// Cycles after the last block's work: sums of what blocks left.
  double tailCycles = 0;
  /// True for blocks of the launch before, which wait until that has ended:
  /// both then have the same needs.
  bool isPhase = false;
};

/// What the model takes for the time of an op's launches. It orders schedules;
/// it is no prediction.
struct LaunchEstimate {
  double cycles = 0; // infinite where a block does not fit
  double memoryBytes = 0;
  /// What takes the longest: "memory", "cache", "units", "shared memory",
  /// "instructions" or "latency", of the longest launch; its blocks, and how
  /// many of them a multiprocessor holds.
  llvm::StringRef limit;
  double blocks = 0;
  int64_t resident = 0;
};
LaunchEstimate estimateCycles(const GPUChip &chip,
                              llvm::ArrayRef<LaunchWork> launches);

/// Cycles from a request to memory to its answer.
inline constexpr double kMemoryLatency = 600;
/// Bytes per cycle that a multiprocessor gets from the second-level cache.
inline constexpr double kCacheRate = 40;

/// The best of the launches with these estimates; nothing where none has a
/// finite time. Of those that are nearly as fast as the fastest, which the
/// model hardly tells apart, some may move fewer bytes than others: of these
/// the first that is as fast as any.
std::optional<size_t> chooseBest(llvm::ArrayRef<LaunchEstimate> estimates);

//===----------------------------------------------------------------------===//
// What families say
//===----------------------------------------------------------------------===//

/// The launches of some ops of a kernel, of one family, as their schedule
/// leaves them open.
class LaunchModel {
public:
  LaunchModel(const GPUTarget &gpuTarget, ScheduleFamily scheduleFamily)
      : target(gpuTarget), family(scheduleFamily) {}
  virtual ~LaunchModel() = default;

  ScheduleFamily getFamily() const { return family; }
  const GPUTarget &getTarget() const { return target; }
  /// The ops, in order.
  llvm::ArrayRef<mlir::Operation *> getOps() const { return ops; }
  mlir::MLIRContext *getContext() const { return ops.front()->getContext(); }
  /// What the choice depends on, as text: the family, the ops, and the types of
  /// what goes in and comes out, "gemm linear: 64x32xbf16, 16x32xbf16 ->
  /// 64x16xbf16". The same in every program that has such a launch.
  std::string getKey() const;

  /// Schedules to choose from, of which earlier ones are better among equals;
  /// some may have a fault.
  virtual llvm::SmallVector<ScheduleAttr> listCandidates() const = 0;
  /// What is expected of a schedule that the ops cannot follow on the chip;
  /// empty where they can.
  virtual std::string findFault(ScheduleAttr schedule) const = 0;
  /// What the launches of a schedule without fault do.
  virtual llvm::SmallVector<LaunchWork>
  describe(ScheduleAttr schedule) const = 0;

  LaunchEstimate estimate(ScheduleAttr schedule) const;
  /// The candidate without fault that the model takes for the fastest; null
  /// where there is none.
  ScheduleAttr choose() const;

protected:
  /// Says what `getKey` needs to know besides types; nothing by default.
  virtual std::string getKeySuffix() const { return ""; }
  void setOps(llvm::ArrayRef<mlir::Operation *> launchOps) { ops = launchOps; }

private:
  const GPUTarget &target;
  ScheduleFamily family;
  llvm::ArrayRef<mlir::Operation *> ops;
};

/// The schedule that stands on the first op, else that on its function if it is
/// of the family, else the model's choice. Fails, with an error at the op, on
/// an attribute of another kind or family, on one that the ops cannot follow,
/// and where they can follow none.
llvm::FailureOr<ScheduleAttr> getSchedule(const LaunchModel &model);
/// The same of a schedule that `given` overrides where it is not null, with
/// errors by `emitError`.
llvm::FailureOr<ScheduleAttr>
getSchedule(const LaunchModel &model, ScheduleAttr given,
            llvm::function_ref<mlir::InFlightDiagnostic()> emitError);

} // namespace nag

#endif // NAG_CONVERSION_LAUNCHMODEL_H
