// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The model of a chip, the key of a launch and the choice of its schedule, the
// same for all families.
#include "nag/Conversion/LaunchModel.h"
#include "nag/Conversion/NagToGPU.h"

#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include "llvm/ADT/StringExtras.h"

#include <limits>

using namespace mlir;
using namespace nag;

//===----------------------------------------------------------------------===//
// The model of a chip
//===----------------------------------------------------------------------===//

/// Bytes per cycle of a multiprocessor's shared memory.
static constexpr double kSharedRate = 128;
/// Warps that issue at a time, and that keep the arithmetic units busy.
static constexpr double kSchedulers = 4, kBusyWarps = 8;
/// A multiprocessor's part of the memory's rate, against its share of all.
static constexpr double kDraw = 1.25;
/// A launch after another, a phase of a launch after another, and a block after
/// another on a multiprocessor.
static constexpr double kLaunchCycles = 3000, kPhaseCycles = 1500,
                        kDispatchCycles = 50;
/// What does not overlap, of what is hidden behind something that takes longer.
static constexpr double kExposed = 0.1;

/// Bytes per cycle of the device's memory, as a multiprocessor's share.
static double getMemoryRate(const GPUChip &chip) {
  for (const GPUDevice &device : getGPUDevices())
    if (device.chip == chip.name)
      return device.memoryBytes / (device.gigahertz * 1e9) /
             double(device.multiprocessors);
  llvm_unreachable("a chip without a device");
}

namespace {
/// What takes so many cycles.
struct Share {
  double cycles;
  StringRef limit;
};
} // namespace

static Share findLongest(ArrayRef<Share> shares) {
  return *llvm::max_element(shares, [](const Share &a, const Share &b) {
    return a.cycles < b.cycles;
  });
}

/// A step of a block where a multiprocessor works on `active` of them, and
/// those that wait together are one of `waves` of its `blocks`.
static Share getStep(const BlockWork &part, double active, double threads,
                     double waves, double blocks) {
  double busy = std::min(1.0, active * threads / 32 / kBusyWarps);
  return findLongest({{part.unitCycles / busy, "units"},
                      {part.globalBytes / kCacheRate, "cache"},
                      {part.sharedBytes / kSharedRate, "shared memory"},
                      {part.instructions / kSchedulers / busy, "instructions"},
                      {part.waitCycles * waves / blocks, "latency"}});
}

static LaunchEstimate estimate(const GPUChip &chip, const LaunchWork &launch) {
  LaunchEstimate result;
  result.memoryBytes = launch.memoryBytes;
  result.resident = countResidentBlocks(chip, launch.needs);
  for (const BlockWork &part : launch.parts)
    result.blocks += part.blocks;
  if (result.resident == 0) {
    result.cycles = std::numeric_limits<double>::infinity();
    return result;
  }
  double perMultiprocessor = std::ceil(result.blocks / chip.multiprocessors);
  double active = std::min<double>(perMultiprocessor, result.resident);
  double waves = std::ceil(perMultiprocessor / active);
  double work = 0, longest = 0;
  Share most{-1, ""};
  for (const BlockWork &part : launch.parts) {
    Share step =
        getStep(part, active, launch.needs.threads, waves, perMultiprocessor);
    double own = part.blocks * part.steps * step.cycles;
    work += own + part.blocks * (part.leaveBytes / kCacheRate +
                                 part.startCycles / active);
    most = findLongest({most, {own, step.limit}});
    Share alone = getStep(part, 1, launch.needs.threads, 1, 1);
    longest = std::max(longest, part.steps * alone.cycles + part.startCycles);
  }
  // Blocks that are longer than others end last.
  double cycles = std::max(longest, perMultiprocessor *
                                        (kDispatchCycles +
                                         work / std::max(result.blocks, 1.0))) +
                  launch.tailCycles;
  double drawing =
      std::min(kDraw * result.blocks, double(chip.multiprocessors));
  double memory =
      launch.memoryBytes / getMemoryRate(chip) / std::max(drawing, 1.0);
  result.limit = memory > cycles ? "memory" : most.limit;
  result.cycles =
      std::max(cycles, memory) + kExposed * std::min(cycles, memory);
  return result;
}

LaunchEstimate nag::estimateCycles(const GPUChip &chip,
                                   ArrayRef<LaunchWork> launches) {
  LaunchEstimate sum;
  double most = -1;
  for (const LaunchWork &launch : launches) {
    LaunchEstimate own = ::estimate(chip, launch);
    if (&launch != launches.begin())
      sum.cycles += launch.isPhase ? kPhaseCycles : kLaunchCycles;
    sum.cycles += own.cycles;
    sum.memoryBytes += own.memoryBytes;
    if (own.cycles <= most)
      continue;
    most = own.cycles;
    sum.limit = own.limit;
    sum.blocks = own.blocks;
    sum.resident = own.resident;
  }
  return sum;
}

/// How much slower than the fastest is nearly as fast, and as fast; how many
/// more bytes are as few.
static constexpr double kNearTime = 1.02, kSameTime = 1.005, kSameBytes = 1.1;

std::optional<size_t> nag::chooseBest(ArrayRef<LaunchEstimate> estimates) {
  SmallVector<size_t> best =
      llvm::to_vector(llvm::seq<size_t>(estimates.size()));
  auto keepLeast = [&](double LaunchEstimate::*what, double margin) {
    double least = std::numeric_limits<double>::infinity();
    for (size_t index : best)
      least = std::min(least, estimates[index].*what);
    llvm::erase_if(best, [&](size_t index) {
      double own = estimates[index].*what;
      return !std::isfinite(own) || own > margin * least;
    });
  };
  keepLeast(&LaunchEstimate::cycles, kNearTime);
  keepLeast(&LaunchEstimate::memoryBytes, kSameBytes);
  keepLeast(&LaunchEstimate::cycles, kSameTime);
  return best.empty() ? std::nullopt : std::optional(best.front());
}

LaunchEstimate LaunchModel::estimate(ScheduleAttr schedule) const {
  return estimateCycles(*target.chip, describe(schedule));
}

//===----------------------------------------------------------------------===//
// Keys
//===----------------------------------------------------------------------===//

/// "attention{heads=4, kv_heads=2}": integers and flags, which sizes and code
/// may depend on; no numbers such as an epsilon.
static std::string describeOp(Operation *op) {
  StringRef name = op->getName().getStringRef();
  name.consume_front("nag.");
  std::string text = name.str();
  SmallVector<std::string> attributes;
  for (NamedAttribute attribute : op->getAttrs()) {
    StringRef field = attribute.getName().getValue();
    // Others' notes, as "nag.recomputed".
    if (field.contains('.'))
      continue;
    auto flag = dyn_cast<BoolAttr>(attribute.getValue());
    if (isa<UnitAttr>(attribute.getValue()) || (flag && flag.getValue()))
      attributes.push_back(field.str());
    else if (auto integer = dyn_cast<IntegerAttr>(attribute.getValue());
             integer && !flag)
      attributes.push_back(
          (field + "=" + llvm::Twine(integer.getValue().getSExtValue())).str());
  }
  if (!attributes.empty())
    text += "{" + llvm::join(attributes, ", ") + "}";
  return text;
}

static std::string describeType(Type type) {
  std::string text;
  llvm::raw_string_ostream os(text);
  auto tensor = dyn_cast<RankedTensorType>(type);
  if (!tensor) {
    os << type;
    return text;
  }
  for (int64_t size : tensor.getShape())
    os << size << 'x';
  os << tensor.getElementType();
  return text;
}

namespace {
/// "2 linear, gate": what is alike, counted where it first stands.
class Counted {
public:
  void add(std::string text) { ++counts[std::move(text)]; }
  std::string join() const {
    SmallVector<std::string> parts;
    for (const auto &[text, count] : counts)
      parts.push_back((count > 1 ? std::to_string(count) + " " : "") + text);
    return llvm::join(parts, ", ");
  }

private:
  llvm::MapVector<std::string, int, std::map<std::string, unsigned>> counts;
};
} // namespace

std::string LaunchModel::getKey() const {
  Counted names, inputs, outputs;
  llvm::SmallPtrSet<Operation *, 16> own(ops.begin(), ops.end());
  llvm::DenseSet<Value> seen;
  for (Operation *op : ops) {
    names.add(describeOp(op));
    for (Value operand : op->getOperands())
      if (!own.contains(operand.getDefiningOp()) && seen.insert(operand).second)
        inputs.add(describeType(operand.getType()));
    for (Value result : op->getResults())
      if (llvm::any_of(result.getUsers(),
                       [&](Operation *user) { return !own.contains(user); }))
        outputs.add(describeType(result.getType()));
  }
  return (stringifyScheduleFamily(family) + getKeySuffix() + " " +
          names.join() + ": " + inputs.join() + " -> " + outputs.join())
      .str();
}

//===----------------------------------------------------------------------===//
// The choice
//===----------------------------------------------------------------------===//

ScheduleAttr LaunchModel::choose() const {
  SmallVector<ScheduleAttr> candidates = listCandidates();
  llvm::erase_if(candidates, [&](ScheduleAttr candidate) {
    return !findFault(candidate).empty();
  });
  std::optional<size_t> best = chooseBest(llvm::map_to_vector(
      candidates, [&](ScheduleAttr candidate) { return estimate(candidate); }));
  return best ? candidates[*best] : ScheduleAttr();
}

FailureOr<ScheduleAttr>
nag::getSchedule(const LaunchModel &model, ScheduleAttr given,
                 function_ref<InFlightDiagnostic()> emitError) {
  if (!given) {
    if (ScheduleAttr chosen = model.choose())
      return chosen;
    return emitError() << "expected sizes that a schedule of the family "
                       << stringifyScheduleFamily(model.getFamily())
                       << " fits on " << model.getTarget().chip->name;
  }
  std::string fault = model.findFault(given);
  if (fault.empty())
    return given;
  return emitError() << "expected a schedule with " << fault << ", but got "
                     << given;
}

FailureOr<ScheduleAttr> nag::getSchedule(const LaunchModel &model) {
  Operation *op = model.getOps().front();
  auto given = getGivenSchedule(op, model.getFamily());
  if (failed(given))
    return failure();
  return getSchedule(model, *given, [&] { return op->emitOpError(); });
}
