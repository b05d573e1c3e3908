// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag-assign-schedules: writes the schedules that the model chooses, or those
// of a file, into the IR.
#include "nag/Conversion/NagToGPU.h"
#include "nag/Conversion/Passes.h"
#include "nag/Support/Json.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/MemoryBuffer.h"

#include <map>
#include <set>

namespace nag {
#define GEN_PASS_DEF_NAGASSIGNSCHEDULES
#include "nag/Conversion/Passes.h.inc"
} // namespace nag

using namespace mlir;
using namespace nag;
namespace json = llvm::json;

//===----------------------------------------------------------------------===//
// The file
//===----------------------------------------------------------------------===//

namespace {
/// Schedules by the key of a launch.
using ScheduleFile = std::map<std::string, ScheduleAttr>;
} // namespace

static llvm::Expected<json::Value> readJSON(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError(path + ": " + buffer.getError().message());
  auto value = parseJson((*buffer)->getBuffer());
  if (value)
    return value;
  // The parser's message holds the place: "[1:5, byte=5]: ...".
  return llvm::createStringError(
      path + ": expected JSON: " + llvm::toString(value.takeError()));
}

static llvm::Expected<ScheduleFile> readFile(StringRef path, StringRef chip,
                                             MLIRContext *context) {
  auto value = readJSON(path);
  if (!value)
    return value.takeError();
  const json::Object *root = value->getAsObject();
  const json::Object *kernels = root ? root->getObject("kernels") : nullptr;
  if (!kernels)
    return llvm::createStringError(
        path + ": expected an object with an object 'kernels'");
  auto made = root->getString("chip");
  if (made && *made != chip)
    return llvm::createStringError(path + ": field 'chip': expected '" + chip +
                                   "', but got '" + *made + "'");
  ScheduleFile file;
  for (const auto &[key, member] : *kernels) {
    auto schedule = parseSchedule(member, context);
    if (!schedule)
      return llvm::createStringError(
          path + ": kernel '" + StringRef(key) +
          "': " + llvm::toString(schedule.takeError()));
    file[key.str()] = *schedule;
  }
  return file;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
struct NagAssignSchedulesPass
    : nag::impl::NagAssignSchedulesBase<NagAssignSchedulesPass> {
  using NagAssignSchedulesBase::NagAssignSchedulesBase;

  void runOnOperation() override {
    FailureOr<GPUTarget> target =
        GPUTarget::get(chip, tf32, [&] { return getOperation().emitError(); });
    schedules.clear();
    used.clear();
    if (failed(target) || failed(read()))
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kKernelAttrName) &&
          failed(assign(function, *target)))
        return signalPassFailure();
    warnOfOthers();
  }

private:
  LogicalResult read();
  LogicalResult assign(func::FuncOp kernel, const GPUTarget &target);
  FailureOr<ScheduleAttr> find(const LaunchModel &model);
  void explain(const LaunchModel &model, ScheduleAttr schedule);
  void warnOfOthers();
  Location getUnknownLoc() { return UnknownLoc::get(&getContext()); }

  ScheduleFile schedules;
  std::set<std::string> used;
};
} // namespace

LogicalResult NagAssignSchedulesPass::read() {
  if (file.empty())
    return success();
  auto loaded = readFile(file, chip, &getContext());
  if (!loaded)
    return emitError(getUnknownLoc(), llvm::toString(loaded.takeError()));
  schedules = std::move(*loaded);
  return success();
}

/// The schedule that the file has for the launch, else the one that stands in
/// the IR, else the model's.
FailureOr<ScheduleAttr> NagAssignSchedulesPass::find(const LaunchModel &model) {
  std::string key = model.getKey();
  auto found = schedules.find(key);
  if (found == schedules.end())
    return getSchedule(model);
  used.insert(key);
  auto complain = [&] {
    return emitError(getUnknownLoc()) << file << ": kernel '" << key << "': ";
  };
  ScheduleAttr schedule = found->second;
  if (schedule.getFamily() == model.getFamily())
    return getSchedule(model, schedule, complain);
  return complain() << "field 'family': expected "
                    << stringifyScheduleFamily(model.getFamily())
                    << ", but got "
                    << stringifyScheduleFamily(schedule.getFamily());
}

LogicalResult NagAssignSchedulesPass::assign(func::FuncOp kernel,
                                             const GPUTarget &target) {
  SmallVector<Operation *> ops = collectComputation(kernel);
  for (ArrayRef<Operation *> rest(ops); !rest.empty();) {
    FailureOr<LaunchPlan> plan = planFirst(target, rest);
    if (failed(plan))
      return failure();
    if (plan->model) {
      FailureOr<ScheduleAttr> schedule = find(*plan->model);
      if (failed(schedule))
        return failure();
      rest.front()->setAttr(kScheduleAttrName, *schedule);
      if (remarks)
        explain(*plan->model, *schedule);
    }
    // What no emitter knows is for -convert-nag-to-gpu to refuse.
    rest = rest.drop_front(std::max(plan->numOps, 1u));
  }
  return success();
}

void NagAssignSchedulesPass::explain(const LaunchModel &model,
                                     ScheduleAttr schedule) {
  LaunchEstimate estimate = model.estimate(schedule);
  model.getOps().front()->emitRemark()
      << "'" << model.getKey() << "': " << schedule << ": the model's "
      << llvm::formatv("{0:F0} cycles, by {1}; {2} blocks, {3} at a time on a "
                       "multiprocessor, {4} bytes of memory",
                       estimate.cycles, estimate.limit,
                       static_cast<int64_t>(estimate.blocks), estimate.resident,
                       static_cast<int64_t>(estimate.memoryBytes))
             .str();
}

/// A file may serve several programs, or be misspelt.
void NagAssignSchedulesPass::warnOfOthers() {
  SmallVector<std::string> others;
  for (const auto &[key, schedule] : schedules)
    if (!used.count(key))
      others.push_back(key);
  if (others.empty())
    return;
  emitWarning(getUnknownLoc())
      << file << ": " << others.size() << " of " << schedules.size()
      << " kernels are none of this program's, the first '" << others.front()
      << "'";
}
