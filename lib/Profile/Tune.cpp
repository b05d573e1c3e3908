// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search for schedules: in every round each launch follows its next
// candidate, and the program is measured, each launch once.
#include "nag/Profile/Tune.h"
#include "nag/Conversion/ScheduleSearch.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

#include "llvm/ADT/StringSet.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/FileUtilities.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/raw_ostream.h"

using namespace llvm;
using namespace nag;
using namespace nag::profile;

//===----------------------------------------------------------------------===//
// The score
//===----------------------------------------------------------------------===//

/// Warps that keep a multiprocessor's units busy, and its schedulers.
static constexpr double kBusyWarps = 8, kSchedulers = 4;
/// A launch, in seconds, and what spills cost: local memory is device memory.
static constexpr double kLaunchSeconds = 2e-6;

static double getScore(const DeviceKernel &kernel, const GPUDevice &device,
                       const GPUChip &chip) {
  const cuda::KernelInfo &info = kernel.info;
  int64_t resident = kernel.countResident(chip);
  if (resident == 0)
    return std::numeric_limits<double>::infinity();
  double blocks = double(info.grid[0] * info.grid[1] * info.grid[2]);
  double warps =
      std::ceil(info.block[0] * info.block[1] * info.block[2] / 32.0);
  double perSM = std::ceil(blocks / device.multiprocessors);
  // Multiprocessors that wait for the last, and lanes that nothing hides.
  double imbalance = perSM * device.multiprocessors / blocks;
  double busy =
      std::min(1.0, std::min<double>(perSM, resident) * warps / kBusyWarps);
  double issue =
      double(kernel.counters.get("warp_instructions")) /
      (kSchedulers * device.multiprocessors * device.gigahertz * 1e9);
  double seconds = std::max(kernel.getBound(device).seconds, issue);
  cuda::KernelResources used = kernel.getResources();
  double spilled = double(used.spillStoreBytes + used.spillLoadBytes) * blocks *
                   warps * 32 / device.memoryBytes;
  return kLaunchSeconds + seconds * imbalance / busy + spilled;
}

double nag::profile::getScore(const DeviceKernel &kernel,
                              const GPUDevice &device) {
  if (kernel.seconds)
    return *kernel.seconds;
  return ::getScore(kernel, device, *lookupGPUChip(device.chip));
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

namespace {
/// The schedules that the launches of a key may follow.
struct Candidates {
  std::vector<json::Value> choices;
  std::vector<double> scores;
  /// The kernel function whose launches are measured, the first that runs of
  /// those that have the key, and how often such launches happen in all.
  std::string kernel;
  int64_t launches = 0;

  bool has(size_t round) const { return round < choices.size(); }
  size_t getBest() const { return min_element(scores) - scores.begin(); }
};

/// By key.
using CandidateMap = std::map<std::string, Candidates>;

/// Lists the candidates of a program's launches when they are seen.
class Lister : public cuda::ProgramObserver {
public:
  Lister(CandidateMap &launchCandidates, const TuneOptions &tuneOptions)
      : candidates(launchCandidates), options(tuneOptions) {}

  void seeKernels(mlir::ModuleOp kernels) override {
    // The command has checked the chip.
    GPUTarget target = *GPUTarget::get(options.measure.chip,
                                       options.measure.precision == "tf32",
                                       [&] { return kernels.emitError(); });
    for (auto function : kernels.getOps<mlir::func::FuncOp>())
      if (function->hasAttr(kKernelAttrName))
        list(function, target);
  }

private:
  void list(mlir::func::FuncOp kernel, const GPUTarget &target) {
    auto lists = listSchedules(kernel, target, options.candidates);
    if (failed(lists))
      return;
    for (const ScheduleList &launch : *lists) {
      Candidates &own = candidates[launch.key];
      if (!own.choices.empty())
        continue;
      for (ScheduleAttr schedule : launch.schedules)
        own.choices.push_back(toJSON(schedule));
    }
  }

  CandidateMap &candidates;
  const TuneOptions &options;
};
} // namespace

/// {"chip", "kernels": {key: schedule}} of the candidates that `choose` names;
/// without those of whom it names none.
static json::Object
describe(const CandidateMap &candidates, StringRef chip,
         function_ref<std::optional<size_t>(const Candidates &)> choose) {
  json::Object kernels;
  for (const auto &[key, own] : candidates)
    if (std::optional<size_t> choice = choose(own))
      kernels[key] = own.choices[*choice];
  return json::Object{{"chip", chip}, {"kernels", std::move(kernels)}};
}

//===----------------------------------------------------------------------===//
// The search
//===----------------------------------------------------------------------===//

namespace {
/// A file that a round's schedules are read from.
class RoundFile {
public:
  Error write(const json::Object &schedules) {
    if (path.empty()) {
      if (std::error_code code =
              sys::fs::createTemporaryFile("nag-schedule", "json", path))
        return createStringError("cannot create a temporary file: " +
                                 code.message());
      remover = std::make_unique<FileRemover>(path);
    }
    std::error_code code;
    raw_fd_ostream os(path, code);
    os << formatv("{0}", json::Value(json::Object(schedules)));
    os.close();
    if (code || os.has_error())
      return createStringError(path + ": cannot write");
    return Error::success();
  }
  std::string getPath() const { return std::string(path); }

private:
  SmallString<128> path;
  std::unique_ptr<FileRemover> remover;
};
} // namespace

static Expected<Profile> runRound(const TuneOptions &options,
                                  const CandidateMap &candidates, size_t round,
                                  RoundFile &file) {
  json::Object schedules =
      describe(candidates, options.measure.chip,
               [&](const Candidates &own) -> std::optional<size_t> {
                 return own.has(round) ? round : 0;
               });
  if (Error error = file.write(schedules))
    return error;
  Options measured = options.measure;
  measured.schedule = file.getPath();
  measured.counts = [&](StringRef kernel) {
    return any_of(candidates, [&](const auto &entry) {
      const Candidates &own = entry.second;
      return own.has(round) && (own.kernel.empty() || own.kernel == kernel);
    });
  };
  return options.run(measured);
}

/// The scores of a round's candidates.
static void addScores(const Profile &measured, const GPUDevice &device,
                      size_t round, CandidateMap &candidates) {
  for (auto &[key, own] : candidates)
    own.launches = 0;
  for (const Kernel &kernel : measured.kernels) {
    llvm::StringSet<> seen;
    for (const DeviceKernel &part : kernel.parts) {
      auto found = candidates.find(part.info.key);
      if (found == candidates.end())
        continue;
      Candidates &own = found->second;
      if (seen.insert(part.info.key).second)
        own.launches += kernel.getLaunches();
      if (own.kernel.empty())
        own.kernel = kernel.name;
      if (own.kernel == kernel.name && own.has(round))
        own.scores[round] += getScore(part, device);
    }
  }
}

/// The schedule file, with the scores.
static json::Value describeResult(const CandidateMap &candidates,
                                  const TuneOptions &options) {
  double before = 0, after = 0;
  json::Object scores;
  for (const auto &[key, own] : candidates) {
    double model = own.scores.front(), tuned = own.scores[own.getBest()];
    if (own.launches == 0)
      continue;
    before += double(own.launches) * model;
    after += double(own.launches) * tuned;
    json::Array tried;
    for (auto [schedule, score] : zip_equal(own.choices, own.scores))
      tried.push_back(json::Object{{"schedule", schedule}, {"score", score}});
    scores[key] = json::Object{{"model", model},
                               {"tuned", tuned},
                               {"launches", own.launches},
                               {"tried", std::move(tried)}};
  }
  // What the step does not launch was not measured.
  json::Object result =
      describe(candidates, options.measure.chip,
               [](const Candidates &own) -> std::optional<size_t> {
                 if (own.launches == 0)
                   return std::nullopt;
                 return own.getBest();
               });
  result["device"] = options.device->name;
  result["measure"] = options.measure.device == "vm" ? "score" : "time";
  result["scores"] = std::move(scores);
  result["step"] = json::Object{{"model", before}, {"tuned", after}};
  return json::Value(std::move(result));
}

Expected<json::Value> nag::profile::tune(const TuneOptions &options) {
  CandidateMap candidates;
  Lister lister(candidates, options);
  if (Error error = options.list(lister))
    return error;
  size_t rounds = 0;
  for (auto &[key, own] : candidates) {
    rounds = std::max(rounds, own.choices.size());
    own.scores.assign(own.choices.size(), 0);
  }
  RoundFile file;
  for (size_t round = 0; round < rounds; ++round) {
    auto measured = runRound(options, candidates, round, file);
    if (!measured)
      return measured.takeError();
    addScores(*measured, *options.device, round, candidates);
    if (options.progress)
      options.progress(round + 1, rounds);
  }
  return describeResult(candidates, options);
}
