// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Conversion/ScheduleSearch.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace nag;

namespace {
/// Grows a set of schedules from one by changing a field at a time.
class Neighbourhood {
public:
  Neighbourhood(const GPUTarget &gpuTarget, ArrayRef<Operation *> kernelOps,
                GPUPlanner familyPlan)
      : target(gpuTarget), ops(kernelOps), plan(familyPlan) {}

  /// Schedules reached from `start` in up to `rounds` changes; those that ops
  /// cannot follow lead nowhere.
  void grow(ScheduleAttr start, unsigned rounds, size_t limit);
  std::vector<ScheduleAttr> takeBest(unsigned limit);

private:
  struct Candidate {
    ScheduleAttr schedule;
    double cycles;
  };

  void addNeighbours(ScheduleAttr schedule);
  void add(ScheduleAttr schedule);
  ScheduleAttr change(ScheduleAttr schedule,
                      ArrayRef<std::pair<size_t, double>> factors);

  const GPUTarget &target;
  ArrayRef<Operation *> ops;
  GPUPlanner plan;
  SmallVector<Candidate> candidates;
  llvm::DenseSet<Attribute> seen;
};
} // namespace

void Neighbourhood::add(ScheduleAttr schedule) {
  if (!schedule || !seen.insert(schedule).second)
    return;
  FailureOr<SchedulePlan> planned = plan(target, ops, schedule);
  if (succeeded(planned) && planned->fault.empty())
    candidates.push_back({schedule, planned->cycles});
}

/// The schedule with values multiplied; null where it breaks a constraint.
ScheduleAttr
Neighbourhood::change(ScheduleAttr schedule,
                      ArrayRef<std::pair<size_t, double>> factors) {
  SmallVector<int64_t> values(schedule.getValues());
  for (auto [index, factor] : factors)
    values[index] = static_cast<int64_t>(values[index] * factor);
  MLIRContext *context = schedule.getContext();
  // Constraints that break are no errors here.
  ScopedDiagnosticHandler silent(context,
                                 [](Diagnostic &) { return success(); });
  return ScheduleAttr::getChecked(
      [&] { return emitError(UnknownLoc::get(context)); }, context,
      schedule.getFamily(), ArrayRef<int64_t>(values));
}

/// Every value halved and doubled; pairs of values one up and the other down,
/// or both the same way, as a tile and its warps.
void Neighbourhood::addNeighbours(ScheduleAttr schedule) {
  size_t count = schedule.getValues().size();
  for (size_t i = 0; i < count; ++i)
    for (double factor : {2.0, 0.5}) {
      add(change(schedule, {{i, factor}}));
      for (size_t j = 0; j < i; ++j)
        for (double other : {2.0, 0.5})
          add(change(schedule, {{i, factor}, {j, other}}));
    }
}

void Neighbourhood::grow(ScheduleAttr start, unsigned rounds, size_t limit) {
  add(start);
  size_t begin = 0;
  for (unsigned round = 0; round < rounds; ++round)
    for (size_t end = candidates.size();
         begin < end && candidates.size() < limit; ++begin)
      addNeighbours(candidates[begin].schedule);
}

std::vector<ScheduleAttr> Neighbourhood::takeBest(unsigned limit) {
  if (candidates.empty())
    return {};
  auto order = llvm::to_vector(llvm::seq<size_t>(1, candidates.size()));
  llvm::sort(order, [&](size_t a, size_t b) {
    return std::pair(candidates[a].cycles, a) <
           std::pair(candidates[b].cycles, b);
  });
  std::vector<ScheduleAttr> best{candidates.front().schedule};
  for (size_t index : order)
    if (best.size() < limit)
      best.push_back(candidates[index].schedule);
  return best;
}

/// What one op that leads a launch could follow; `numOps` are taken with it.
static FailureOr<std::vector<ScheduleAttr>>
listForFirst(ArrayRef<Operation *> ops, const GPUTarget &target, unsigned limit,
             unsigned &numOps) {
  constexpr unsigned rounds = 3;
  constexpr size_t most = 600;
  for (const KernelFamily &family : getKernelFamilies()) {
    auto own = ops.front()->getAttrOfType<ScheduleAttr>(kScheduleAttrName);
    FailureOr<SchedulePlan> chosen = family.plan(target, ops, {});
    if (failed(chosen))
      return failure();
    if (chosen->numOps == 0)
      continue;
    numOps = chosen->numOps;
    if (!chosen->schedule)
      return std::vector<ScheduleAttr>();
    if (own && own.getFamily() == chosen->schedule.getFamily())
      chosen->schedule = own;
    Neighbourhood neighbourhood(target, ops, family.plan);
    neighbourhood.grow(chosen->schedule, rounds, most);
    return neighbourhood.takeBest(limit);
  }
  numOps = 1;
  return std::vector<ScheduleAttr>();
}

FailureOr<std::vector<std::vector<ScheduleAttr>>>
nag::listSchedules(func::FuncOp kernel, const GPUTarget &target,
                   unsigned limit) {
  std::vector<std::vector<ScheduleAttr>> lists;
  SmallVector<Operation *> ops = collectComputation(kernel);
  for (ArrayRef<Operation *> rest(ops); !rest.empty();) {
    unsigned numOps = 0;
    auto list = listForFirst(rest, target, limit, numOps);
    if (failed(list))
      return failure();
    if (!list->empty())
      lists.push_back(std::move(*list));
    rest = rest.drop_front(numOps);
  }
  return lists;
}
