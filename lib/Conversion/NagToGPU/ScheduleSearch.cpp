// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Conversion/ScheduleSearch.h"

#include "llvm/ADT/STLExtras.h"

using namespace mlir;
using namespace nag;

namespace {
/// Grows a set of schedules from one by changing a field at a time.
class Neighbourhood {
public:
  explicit Neighbourhood(const LaunchModel &launchModel) : model(launchModel) {}

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

  const LaunchModel &model;
  SmallVector<Candidate> candidates;
  llvm::DenseSet<Attribute> seen;
};
} // namespace

void Neighbourhood::add(ScheduleAttr schedule) {
  if (!schedule || !seen.insert(schedule).second)
    return;
  if (model.findFault(schedule).empty())
    candidates.push_back({schedule, model.estimate(schedule).cycles});
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

/// What the launches of a model could follow.
static std::vector<ScheduleAttr> list(const LaunchModel &model,
                                      ScheduleAttr own, unsigned limit) {
  constexpr unsigned rounds = 3;
  constexpr size_t most = 600;
  Neighbourhood neighbourhood(model);
  neighbourhood.grow(own, rounds, most);
  return neighbourhood.takeBest(limit);
}

FailureOr<std::vector<ScheduleList>> nag::listSchedules(func::FuncOp kernel,
                                                        const GPUTarget &target,
                                                        unsigned limit) {
  std::vector<ScheduleList> lists;
  SmallVector<Operation *> ops = collectComputation(kernel);
  for (ArrayRef<Operation *> rest(ops); !rest.empty();) {
    FailureOr<LaunchPlan> plan = planFirst(target, rest);
    if (failed(plan))
      return failure();
    if (plan->model) {
      FailureOr<ScheduleAttr> own = getSchedule(*plan->model);
      if (failed(own))
        return failure();
      lists.push_back({plan->model->getKey(), list(*plan->model, *own, limit)});
    }
    rest = rest.drop_front(std::max(plan->numOps, 1u));
  }
  return lists;
}
