// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// nag-assign-schedules: writes the schedules that the emitters would choose, or
// those of a file, into the IR.
#include "nag/Conversion/NagToGPU.h"
#include "nag/Conversion/Passes.h"

#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/JSON.h"
#include "llvm/Support/MemoryBuffer.h"

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
/// Schedules by kernel function; null where an op keeps its own.
using ScheduleFile = std::map<std::string, SmallVector<ScheduleAttr>>;
} // namespace

static llvm::Error wrongKernel(StringRef path, StringRef kernel,
                               const Twine &what) {
  return llvm::createStringError(path + ": kernel '" + kernel + "': " + what);
}

static llvm::Expected<SmallVector<ScheduleAttr>>
readEntry(const json::Value &value, MLIRContext *context) {
  SmallVector<ScheduleAttr> schedules;
  auto add = [&](const json::Value &element) -> llvm::Error {
    auto schedule = parseSchedule(element, context);
    if (!schedule)
      return schedule.takeError();
    schedules.push_back(*schedule);
    return llvm::Error::success();
  };
  const json::Array *array = value.getAsArray();
  if (!array) {
    if (llvm::Error error = add(value))
      return error;
    return schedules;
  }
  for (const json::Value &element : *array) {
    if (element.kind() == json::Value::Null)
      schedules.push_back({});
    else if (llvm::Error error = add(element))
      return error;
  }
  return schedules;
}

static llvm::Expected<json::Value> readJSON(StringRef path) {
  auto buffer = llvm::MemoryBuffer::getFile(path);
  if (!buffer)
    return llvm::createStringError(path + ": " + buffer.getError().message());
  auto value = json::parse((*buffer)->getBuffer());
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
    auto schedules = readEntry(member, context);
    if (!schedules)
      return wrongKernel(path, key, llvm::toString(schedules.takeError()));
    file[key.str()] = std::move(*schedules);
  }
  return file;
}

//===----------------------------------------------------------------------===//
// The pass
//===----------------------------------------------------------------------===//

namespace {
/// Goes through the ops of a kernel as -convert-nag-to-gpu does.
class Assigner {
public:
  Assigner(func::FuncOp kernelFunction, const GPUTarget &gpuTarget,
           ArrayRef<ScheduleAttr> schedules, StringRef file)
      : kernel(kernelFunction), target(gpuTarget), given(schedules),
        path(file) {}

  LogicalResult assign();

private:
  LogicalResult assignFirst(ArrayRef<Operation *> ops, unsigned &numOps);
  FailureOr<SchedulePlan> plan(ArrayRef<Operation *> ops, ScheduleAttr wanted);
  LogicalResult verify(Operation *op, const SchedulePlan &chosen,
                       bool isFromFile);
  InFlightDiagnostic complain() {
    return emitError(UnknownLoc::get(kernel.getContext()))
           << path << ": kernel '" << kernel.getName() << "': ";
  }

  func::FuncOp kernel;
  const GPUTarget &target;
  ArrayRef<ScheduleAttr> given;
  StringRef path;
  unsigned numScheduled = 0;
};
} // namespace

FailureOr<SchedulePlan> Assigner::plan(ArrayRef<Operation *> ops,
                                       ScheduleAttr wanted) {
  for (const KernelFamily &family : getKernelFamilies()) {
    FailureOr<SchedulePlan> plan = family.plan(target, ops, wanted);
    if (failed(plan) || plan->numOps > 0)
      return plan;
  }
  return SchedulePlan();
}

LogicalResult Assigner::verify(Operation *op, const SchedulePlan &chosen,
                               bool isFromFile) {
  if (!isFromFile)
    return verifySchedule(op, chosen);
  if (chosen.fault.empty())
    return success();
  return complain() << "expected a schedule with " << chosen.fault
                    << ", but got " << chosen.schedule;
}

LogicalResult Assigner::assignFirst(ArrayRef<Operation *> ops,
                                    unsigned &numOps) {
  Operation *op = ops.front();
  FailureOr<SchedulePlan> chosen = plan(ops, {});
  if (failed(chosen))
    return failure();
  numOps = chosen->numOps;
  if (!chosen->schedule)
    return success();
  ScheduleFamily family = chosen->schedule.getFamily();
  auto wanted = getGivenSchedule(op, family);
  if (failed(wanted))
    return failure();
  bool isFromFile = numScheduled < given.size() && given[numScheduled];
  if (isFromFile)
    wanted = given[numScheduled];
  ++numScheduled;
  if (*wanted && wanted->getFamily() != family)
    return complain() << "field 'family': expected "
                      << stringifyScheduleFamily(family) << ", but got "
                      << stringifyScheduleFamily(wanted->getFamily());
  if (*wanted)
    chosen = plan(ops, *wanted);
  if (failed(chosen) || failed(verify(op, *chosen, isFromFile)))
    return failure();
  op->setAttr(kScheduleAttrName, chosen->schedule);
  return success();
}

LogicalResult Assigner::assign() {
  SmallVector<Operation *> ops = collectComputation(kernel);
  ArrayRef<Operation *> rest(ops);
  while (!rest.empty()) {
    unsigned numOps = 0;
    if (failed(assignFirst(rest, numOps)))
      return failure();
    // What no emitter knows is for -convert-nag-to-gpu to refuse.
    rest = rest.drop_front(std::max(numOps, 1u));
  }
  if (given.size() > numScheduled)
    return complain() << "expected at most " << numScheduled
                      << " schedules, but got " << given.size();
  return success();
}

namespace {
struct NagAssignSchedulesPass
    : nag::impl::NagAssignSchedulesBase<NagAssignSchedulesPass> {
  using NagAssignSchedulesBase::NagAssignSchedulesBase;

  void runOnOperation() override {
    FailureOr<GPUTarget> target =
        GPUTarget::get(chip, tf32, [&] { return getOperation().emitError(); });
    if (failed(target))
      return signalPassFailure();
    ScheduleFile schedules;
    if (!file.empty() && failed(read(schedules)))
      return signalPassFailure();
    for (auto function : getOperation().getOps<func::FuncOp>())
      if (function->hasAttr(kKernelAttrName) &&
          failed(assign(function, *target, schedules)))
        return signalPassFailure();
  }

private:
  LogicalResult read(ScheduleFile &schedules) {
    auto refuse = [&](const Twine &message) {
      return emitError(UnknownLoc::get(&getContext()), message);
    };
    auto loaded = readFile(file, chip, &getContext());
    if (!loaded)
      return refuse(llvm::toString(loaded.takeError()));
    schedules = std::move(*loaded);
    for (const auto &[name, unused] : schedules) {
      auto function = getOperation().lookupSymbol<func::FuncOp>(name);
      if (!function || !function->hasAttr(kKernelAttrName))
        return refuse(file + ": kernel '" + name +
                      "': expected a kernel of the program");
    }
    return success();
  }

  LogicalResult assign(func::FuncOp function, const GPUTarget &target,
                       const ScheduleFile &schedules) {
    ArrayRef<ScheduleAttr> given;
    auto found = schedules.find(function.getName().str());
    if (found != schedules.end())
      given = found->second;
    return Assigner(function, target, given, file).assign();
  }
};
} // namespace
