// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What the training loop costs beside the program: trains an empty program
// with the buffers of the preset tiny (16 x 128 tokens, 0.9 M parameters), all
// that a step may do in turn, and prints microseconds per step and piece.
#include "nag/Runtime/Trainer.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include <chrono>

using namespace nag::runtime;

namespace {

constexpr int64_t batch = 16, seq = 128, vocab = 256, subLayers = 8;
constexpr int64_t steps = 200;

/// Computes nothing and reports a loss of 1.
class EmptyProgram : public Program {
public:
  EmptyProgram();

  llvm::ArrayRef<FunctionInfo> functions() const override { return infos; }
  llvm::ArrayRef<ParameterInfo> parameters() const override { return weights; }
  const llvm::json::Object &config() const override { return configuration; }
  Device &device() override { return host; }
  llvm::Error call(llvm::StringRef function,
                   llvm::ArrayRef<void *> arguments) override;

private:
  HostDevice host;
  llvm::json::Object configuration{{"batch", batch}, {"seq", seq}};
  std::vector<ParameterInfo> weights;
  std::vector<FunctionInfo> infos;
};

EmptyProgram::EmptyProgram() {
  using Access = TensorInfo::Access;
  Init normal;
  normal.kind = Init::Kind::Normal;
  normal.std = 0.02;
  weights = {
      {"wte.weight", 0, DType::F32, {vocab, 128}, "", normal, ""},
      {"h.{layer}.weight", 4, DType::F32, {4, 12 * 128, 128}, "", normal, ""}};
  std::vector<TensorInfo> evaluate = {
      {"loss", DType::F32, {}, Access::Write},
      {"tokens", DType::I32, {batch, seq}, Access::Read},
      {"targets", DType::I32, {batch, seq}, Access::Read},
      {"gate_scale", DType::F32, {}, Access::Read},
      {"gates", DType::F32, {subLayers, batch, seq}, Access::Write}};
  std::vector<TensorInfo> apply = {
      {"grad_norm", DType::F32, {}, Access::Write}};
  for (const char *name : {"lr", "step", "grad_scale", "clip"})
    apply.push_back({name, DType::F32, {}, Access::Read});
  for (const ParameterInfo &info : weights) {
    evaluate.push_back({info.name, info.dtype, info.shape, Access::Read});
    for (const char *prefix : {"", "m:", "v:", "grad:"})
      apply.push_back(
          {prefix + info.name, info.dtype, info.shape, Access::ReadWrite});
  }
  infos = {{"gradients", evaluate}, {"loss", evaluate}, {"apply", apply}};
}

llvm::Error EmptyProgram::call(llvm::StringRef,
                               llvm::ArrayRef<void *> arguments) {
  *static_cast<float *>(arguments[0]) = 1;
  return llvm::Error::success();
}

template <typename T> T take(llvm::Expected<T> value) {
  return llvm::cantFail(std::move(value));
}

double measureOnce(const Dataset &data, const TrainerOptions &options) {
  EmptyProgram program;
  auto trainer = take(Trainer::create(program, data, options));
  auto start = std::chrono::steady_clock::now();
  take(trainer->run());
  std::chrono::duration<double, std::micro> elapsed =
      std::chrono::steady_clock::now() - start;
  llvm::sys::fs::remove_directories(options.checkpointFolder);
  return elapsed.count() / double(options.steps);
}

/// Microseconds per step of a whole run: the best of ten, since other
/// processes may be about.
double measureRun(const Dataset &data, const TrainerOptions &options) {
  double best = measureOnce(data, options);
  for (int i = 1; i < 10; ++i)
    best = std::min(best, measureOnce(data, options));
  return best;
}

void report(const char *what, double microseconds) {
  llvm::outs() << llvm::format("%-44s %9.1f us\n", what, microseconds);
}

TrainerOptions makeOptions() {
  TrainerOptions options;
  options.learningRate = 1e-3;
  options.steps = steps;
  options.validationInterval = 0;
  options.gateInterval = 0;
  options.checkpointInterval = 0;
  return options;
}

std::string makeText(llvm::StringRef folder) {
  std::string path = (folder + "/text").str();
  AtomicFile file = take(AtomicFile::create(path));
  std::string text;
  for (int i = 0; i < 1 << 21; ++i)
    text.push_back(char(32 + i * 7 % 91));
  llvm::cantFail(file.write(text));
  llvm::cantFail(file.commit());
  return path;
}

} // namespace

int main() {
  llvm::SmallString<128> folder;
  if (llvm::sys::fs::createUniqueDirectory("nag-bench", folder))
    return 1;
  DatasetOptions dataOptions;
  dataOptions.paths = {makeText(folder)};
  Dataset data = take(Dataset::open(dataOptions));
  TrainerOptions options = makeOptions();
  double bare = measureRun(data, options);
  report("step: batch, scalars, calls", bare);
  options.logPath = (folder + "/log").str();
  report("+ a line in the log", measureRun(data, options) - bare);
  options.logPath.clear();
  std::string shown;
  llvm::raw_string_ostream progress(shown);
  options.progress = &progress;
  options.terminal = true;
  report("+ a progress bar", measureRun(data, options) - bare);
  options.progress = nullptr;
  options.gateInterval = 1;
  report("+ health of the gates", measureRun(data, options) - bare);
  options.gateInterval = 0;
  options.steps = 20;
  options.checkpointInterval = 1;
  options.checkpointFolder = (folder + "/checkpoints").str();
  report("+ a checkpoint (10 MB, synced to disk)",
         measureRun(data, options) - bare);
  llvm::sys::fs::remove_directories(folder);
}
