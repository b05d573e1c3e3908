// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The search for schedules: in every round each kernel follows its next
// candidate, and the whole program is measured.
#include "nag/Profile/Tune.h"
#include "nag/Conversion/ScheduleSearch.h"
#include "nag/Dialect/Nag/IR/NagDialect.h"

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

double nag::profile::getScore(const Kernel &kernel, const GPUDevice &device) {
  const GPUChip &chip = *lookupGPUChip(device.chip);
  double score = 0;
  for (const DeviceKernel &part : kernel.parts)
    score += part.seconds ? *part.seconds : ::getScore(part, device, chip);
  return score;
}

//===----------------------------------------------------------------------===//
// Candidates
//===----------------------------------------------------------------------===//

namespace {
/// A kernel's candidates: each a schedule per op that leads a launch.
struct Candidates {
  std::vector<std::vector<json::Value>> choices;
  std::vector<double> scores;

  bool has(size_t round) const { return round < choices.size(); }
  size_t getBest() const { return min_element(scores) - scores.begin(); }
};

using CandidateMap = std::map<std::string, Candidates>;

/// Lists the candidates of a program's kernels when they are seen.
class Lister : public cuda::ProgramObserver {
public:
  Lister(CandidateMap &kernelCandidates, const TuneOptions &tuneOptions)
      : candidates(kernelCandidates), options(tuneOptions) {}

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
    if (failed(lists) || lists->empty())
      return;
    size_t rounds = 0;
    for (const auto &schedules : *lists)
      rounds = std::max(rounds, schedules.size());
    Candidates &own = candidates[kernel.getName().str()];
    for (size_t round = 0; round < rounds; ++round) {
      std::vector<json::Value> &choice = own.choices.emplace_back();
      for (const auto &schedules : *lists)
        choice.push_back(
            toJSON(schedules[round < schedules.size() ? round : 0]));
    }
  }

  CandidateMap &candidates;
  const TuneOptions &options;
};
} // namespace

/// {"chip", "kernels": {name: schedules}} of the candidates that `choose`
/// names.
static json::Object describe(const CandidateMap &candidates, StringRef chip,
                             function_ref<size_t(const Candidates &)> choose) {
  json::Object kernels;
  for (const auto &[name, own] : candidates)
    kernels[name] = json::Array(own.choices[choose(own)]);
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
      describe(candidates, options.measure.chip, [&](const Candidates &own) {
        return own.has(round) ? round : 0;
      });
  if (Error error = file.write(schedules))
    return error;
  Options measured = options.measure;
  measured.schedule = file.getPath();
  measured.counts = [&](StringRef kernel) {
    auto found = candidates.find(kernel.str());
    return found != candidates.end() && found->second.has(round);
  };
  return options.run(measured);
}

Expected<json::Value> nag::profile::tune(const TuneOptions &options) {
  CandidateMap candidates;
  Lister lister(candidates, options);
  if (Error error = options.list(lister))
    return error;
  size_t rounds = 0;
  for (auto &[name, own] : candidates) {
    rounds = std::max(rounds, own.choices.size());
    own.scores.assign(own.choices.size(),
                      std::numeric_limits<double>::infinity());
  }
  RoundFile file;
  std::map<std::string, int64_t> launches;
  for (size_t round = 0; round < rounds; ++round) {
    auto measured = runRound(options, candidates, round, file);
    if (!measured)
      return measured.takeError();
    for (const Kernel &kernel : measured->kernels) {
      auto found = candidates.find(kernel.name);
      if (found == candidates.end() || !found->second.has(round))
        continue;
      found->second.scores[round] = getScore(kernel, *options.device);
      launches[kernel.name] = kernel.getLaunches();
    }
    if (options.progress)
      options.progress(round + 1, rounds);
  }
  double before = 0, after = 0;
  json::Object scores;
  for (const auto &[name, own] : candidates) {
    if (!launches.count(name))
      continue;
    before += launches[name] * own.scores.front();
    after += launches[name] * own.scores[own.getBest()];
    scores[name] = json::Object{{"model", own.scores.front()},
                                {"tuned", own.scores[own.getBest()]},
                                {"launches", launches[name]},
                                {"candidates", own.choices.size()}};
  }
  json::Object result =
      describe(candidates, options.measure.chip,
               [](const Candidates &own) { return own.getBest(); });
  result["device"] = options.device->name;
  result["measure"] = options.measure.device == "vm" ? "score" : "time";
  result["scores"] = std::move(scores);
  result["step"] = json::Object{{"model", before}, {"tuned", after}};
  return json::Value(std::move(result));
}
