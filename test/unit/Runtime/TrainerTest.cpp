// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Trainer.h"
#include "TestUtilities.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include <cmath>
#include <csignal>
#include <cstring>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

using namespace nag::runtime;

namespace {

constexpr int64_t vocab = 32;

/// Text in which every byte decides the next but for a few exceptions.
std::string makeText(size_t size) {
  std::string text;
  RandomStream random(1, "text");
  for (size_t i = 0; i < size; ++i) {
    int last = text.empty() ? 0 : text.back();
    int next = (last * 5 + 3) % vocab;
    if (random.below(i, 8) == 0)
      next = int(random.bits(i) % vocab);
    text.push_back(char(next));
  }
  return text;
}

class TrainerTest : public ScratchTest {
protected:
  TrainerTest() : program(4, 16, vocab) {
    DatasetOptions data;
    data.paths = {writeFile("text", makeText(20000))};
    data.vocabulary = vocab;
    dataset.emplace(take(Dataset::open(data)));
    options.steps = 60;
    options.learningRate = 0.15;
    options.warmupSteps = 5;
    options.alphaWarmupSteps = 10;
    options.validationInterval = 20;
    options.checkpointInterval = 10;
  }

  std::unique_ptr<Trainer> makeTrainer() {
    return take(Trainer::create(program, *dataset, options));
  }

  std::string createFails() {
    return getText(Trainer::create(program, *dataset, options));
  }

  static std::string getBits(const Trainer &trainer, const Program &program) {
    std::string bits;
    for (const ParameterInfo &info : program.parameters())
      bits.append(static_cast<char *>(trainer.weights().lookup(info.name)),
                  info.getByteSize());
    return bits;
  }

  /// The bits of an uninterrupted run's weights.
  std::string trainAtOnce() {
    TrainerOptions saved = options;
    options.checkpointFolder.clear();
    options.logPath.clear();
    options.resume = false;
    std::unique_ptr<Trainer> trainer = makeTrainer();
    take(trainer->run());
    options = saved;
    return getBits(*trainer, program);
  }

  BigramProgram program;
  std::optional<Dataset> dataset;
  TrainerOptions options;
};

TEST_F(TrainerTest, LossFalls) {
  std::unique_ptr<Trainer> trainer = makeTrainer();
  TrainingResult result = take(trainer->run());
  EXPECT_EQ(result.step, 60);
  ASSERT_TRUE(result.validation);
  // A uniform guess costs log(32) = 3.47 nats; the text's entropy is about 0.8.
  EXPECT_LT(result.validation->loss, 1.5);
  EXPECT_EQ(result.validation->tokens, 999);
  ASSERT_TRUE(result.validation->bitsPerByte);
  EXPECT_DOUBLE_EQ(*result.validation->bitsPerByte,
                   result.validation->loss / std::log(2.0));
}

TEST_F(TrainerTest, EqualSeedsGiveEqualBits) {
  std::string first = trainAtOnce();
  EXPECT_TRUE(first == trainAtOnce());
  options.seed = 1;
  EXPECT_FALSE(first == trainAtOnce());
}

TEST_F(TrainerTest, InitialWeightsSatisfyConstraints) {
  std::unique_ptr<Trainer> trainer = makeTrainer();
  auto *table =
      static_cast<const float *>(trainer->weights().lookup("table.weight"));
  double sum = 0, squares = 0;
  for (int64_t j = 0; j < vocab; ++j) {
    sum += table[j];
    squares += table[j] * table[j];
  }
  EXPECT_NEAR(sum, 0, 1e-5);
  EXPECT_GT(squares, 1);
}

TEST_F(TrainerTest, AccumulationAveragesBatches) {
  options.accumulation = 3;
  options.steps = 1;
  options.validationInterval = 0;
  std::vector<std::string> calls;
  program.onCall = [&](llvm::StringRef name) { calls.push_back(name.str()); };
  options.logPath = getPath("log");
  take(makeTrainer()->run());
  EXPECT_EQ(calls, (std::vector<std::string>{
                       "constrain", "gradients", "gradients", "accumulate",
                       "gradients", "accumulate", "apply"}));
  // One batch of three times the size sees the same samples.
  BigramProgram wide(12, 16, vocab);
  options.accumulation = 1;
  auto whole = take(Trainer::create(wide, *dataset, options));
  take(whole->run());
  options.accumulation = 3;
  std::unique_ptr<Trainer> parts = makeTrainer();
  take(parts->run());
  auto *expected =
      static_cast<float *>(whole->weights().lookup("table.weight"));
  auto *found = static_cast<float *>(parts->weights().lookup("table.weight"));
  for (int64_t i = 0; i < vocab * vocab; ++i)
    ASSERT_NEAR(found[i], expected[i], 1e-4);
}

TEST_F(TrainerTest, ResumeIsBitExact) {
  for (int64_t accumulation : {1, 2}) {
    options.accumulation = accumulation;
    std::string expected = trainAtOnce();
    options.checkpointFolder =
        getPath("checkpoints" + std::to_string(accumulation));
    int64_t applied = 0;
    program.onCall = [&](llvm::StringRef name) {
      if (name == "apply" && ++applied == 23)
        raise(SIGTERM);
    };
    TrainingResult stopped = take(makeTrainer()->run());
    program.onCall = nullptr;
    EXPECT_EQ(stopped.step, 23);
    EXPECT_EQ(stopped.signal, SIGTERM);
    options.resume = true;
    std::unique_ptr<Trainer> trainer = makeTrainer();
    EXPECT_EQ(trainer->getState().step, 23);
    EXPECT_EQ(take(trainer->run()).step, 60);
    EXPECT_TRUE(getBits(*trainer, program) == expected);
    options.resume = false;
  }
}

TEST_F(TrainerTest, SurvivesKill) {
  options.checkpointFolder = getPath("checkpoints");
  options.logPath = getPath("log.jsonl");
  options.validationInterval = 0;
  auto trainUntilKilled = [&] {
    int64_t applied = 0;
    program.onCall = [&](llvm::StringRef name) {
      if (name == "apply" && ++applied == 37)
        raise(SIGKILL);
    };
    (void)take(makeTrainer()->run());
  };
  EXPECT_EXIT(trainUntilKilled(), testing::KilledBySignal(SIGKILL), "");
  options.resume = true;
  std::unique_ptr<Trainer> trainer = makeTrainer();
  EXPECT_EQ(trainer->getState().step, 30);
  take(trainer->run());
  EXPECT_TRUE(getBits(*trainer, program) == trainAtOnce());
  std::string text = readFile(options.logPath);
  llvm::StringRef log = text;
  EXPECT_EQ(log.count('\n'), 60u);
  for (int step : {30, 31, 36, 37, 60})
    EXPECT_EQ(log.count(llvm::formatv("\"step\":{0},", step).str()), 1u)
        << step;
}

TEST_F(TrainerTest, KeepsTheNewestCheckpoints) {
  options.checkpointFolder = getPath("checkpoints");
  options.keepCheckpoints = 2;
  TrainingResult result = take(makeTrainer()->run());
  EXPECT_EQ(listFolder("checkpoints"),
            (std::vector<std::string>{"step-00000050.safetensors",
                                      "step-00000060.safetensors"}));
  EXPECT_EQ(result.checkpoint,
            getPath("checkpoints/step-00000060.safetensors"));
}

TEST_F(TrainerTest, CheckpointHoldsStateDictNames) {
  options.checkpointFolder = getPath("checkpoints");
  options.steps = 1;
  TrainingResult result = take(makeTrainer()->run());
  SafetensorsFile file = take(SafetensorsFile::open(result.checkpoint));
  std::vector<std::string> names;
  for (const auto &[name, entry] : file.entries())
    if (!llvm::StringRef(name).contains(':'))
      names.push_back(name + " " + formatType(entry.dtype, entry.shape));
  EXPECT_EQ(names, (std::vector<std::string>{"table.weight 32x32xf32",
                                             "transformer.h.0.alpha f32",
                                             "transformer.h.0.bias 32xf32",
                                             "transformer.h.1.alpha f32",
                                             "transformer.h.1.bias 32xf32"}));
  EXPECT_EQ(file.entries().size(), 15u);
}

TEST_F(TrainerTest, LogsEveryStep) {
  options.logPath = getPath("log.jsonl");
  options.gateInterval = 30;
  take(makeTrainer()->run());
  std::string text = readFile(options.logPath);
  llvm::SmallVector<llvm::StringRef> lines;
  llvm::StringRef(text).split(lines, '\n', -1, /*KeepEmpty=*/false);
  ASSERT_EQ(lines.size(), 60u);
  for (auto [index, line] : llvm::enumerate(lines)) {
    llvm::json::Value value = take(llvm::json::parse(line));
    const llvm::json::Object &object = *value.getAsObject();
    int64_t step = int64_t(index) + 1;
    EXPECT_EQ(object.getInteger("step"), step);
    EXPECT_EQ(object.getInteger("tokens"), step * 4 * 16);
    EXPECT_GT(object.getNumber("tokens_per_s").value_or(0), 0);
    EXPECT_EQ(object.get("val_loss") != nullptr, step % 20 == 0);
    EXPECT_EQ(object.get("gates") != nullptr, step % 20 == 0 || step % 30 == 0);
  }
  EXPECT_TRUE(lines.back().contains("\"dead\":0"));
}

TEST_F(TrainerTest, RefusesToMixRuns) {
  options.checkpointFolder = getPath("checkpoints");
  take(makeTrainer()->run());
  EXPECT_EQ(createFails(),
            getPath("checkpoints") +
                ": expected a folder without checkpoints (or a resume), but it "
                "holds " +
                getPath("checkpoints/step-00000060.safetensors"));
}

TEST_F(TrainerTest, ResumeOfNothingStartsAnew) {
  options.checkpointFolder = getPath("checkpoints");
  options.resume = true;
  std::string messages;
  llvm::raw_string_ostream stream(messages);
  options.progress = &stream;
  EXPECT_EQ(makeTrainer()->getState().step, 0);
  EXPECT_EQ(messages, getPath("checkpoints") +
                          ": no checkpoint yet, starting at step 0\n");
}

/// Resuming with something changed names the file and the field.
class ResumeErrorsTest : public TrainerTest {
protected:
  ResumeErrorsTest() {
    options.checkpointFolder = getPath("checkpoints");
    options.steps = 10;
    checkpoint = take(makeTrainer()->run()).checkpoint;
    options.resume = true;
    options.steps = 20;
  }
  std::string checkpoint;
};

TEST_F(ResumeErrorsTest, Seed) {
  options.seed = 7;
  EXPECT_EQ(createFails(),
            checkpoint + ": field 'seed': expected 7, but got 0");
}

TEST_F(ResumeErrorsTest, Config) {
  program.configuration["layers"] = 3;
  EXPECT_EQ(createFails(),
            checkpoint + ": config field 'layers': expected 3, but got 2");
  program.configuration["layers"] = 2;
  program.configuration["window"] = "SSSL";
  EXPECT_EQ(createFails(),
            checkpoint +
                ": config field 'window': expected \"SSSL\", but got nothing");
}

TEST_F(ResumeErrorsTest, Shape) {
  for (FunctionInfo &function : program.functionInfos)
    for (TensorInfo &argument : function.arguments)
      if (argument.name == "m:table.weight")
        argument.shape = {vocab, vocab + 1};
  EXPECT_EQ(createFails(),
            checkpoint + ": tensor 'm:table.weight': expected 32x33xf32, but "
                         "got 32x32xf32");
}

TEST_F(ResumeErrorsTest, Data) {
  DatasetOptions other;
  other.paths = {writeFile("other", makeText(20001))};
  other.vocabulary = vocab;
  dataset.emplace(take(Dataset::open(other)));
  EXPECT_EQ(createFails().find(checkpoint + ": field 'data_fingerprint': "),
            0u);
}

TEST_F(ResumeErrorsTest, Truncated) {
  std::string bytes = readFile(checkpoint);
  for (size_t size : {size_t(0), size_t(5), size_t(100), bytes.size() / 2,
                      bytes.size() - 1}) {
    writeFile("checkpoints/step-00000010.safetensors", bytes.substr(0, size));
    EXPECT_EQ(createFails().find(checkpoint + ": "), 0u) << size;
  }
}

TEST_F(ResumeErrorsTest, Foreign) {
  float value = 0;
  auto read = [&]() -> llvm::Expected<const void *> { return &value; };
  EXPECT_EQ(
      getText(writeSafetensors(checkpoint, {{"x", DType::F32, {}, read}}, {})),
      "");
  EXPECT_EQ(createFails(), checkpoint +
                               ": field 'format': expected a training "
                               "checkpoint, but the file has no such field");
}

TEST_F(ResumeErrorsTest, FullDiskKeepsTheEarlierCheckpoint) {
  std::string before = readFile(checkpoint);
  struct rlimit old, small;
  getrlimit(RLIMIT_FSIZE, &old);
  small = old;
  small.rlim_cur = 4096;
  auto oldHandler = std::signal(SIGXFSZ, SIG_IGN);
  std::unique_ptr<Trainer> trainer = makeTrainer();
  setrlimit(RLIMIT_FSIZE, &small);
  std::string failure = getText(trainer->run());
  setrlimit(RLIMIT_FSIZE, &old);
  std::signal(SIGXFSZ, oldHandler);
  EXPECT_EQ(failure, getPath("checkpoints/step-00000020.safetensors") +
                         ": cannot write: File too large");
  EXPECT_EQ(listFolder("checkpoints"),
            (std::vector<std::string>{"step-00000010.safetensors"}));
  EXPECT_EQ(readFile(checkpoint), before);
  EXPECT_EQ(take(makeTrainer()->run()).step, 20);
}

TEST_F(TrainerTest, FullDiskForTheLog) {
  options.logPath = "/dev/full";
  EXPECT_EQ(getText(makeTrainer()->run()),
            "/dev/full: cannot write: No space left on device");
}

TEST_F(TrainerTest, FolderThatCannotBe) {
  options.checkpointFolder = "/proc/nag-checkpoints";
  EXPECT_EQ(createFails().find("/proc/nag-checkpoints: cannot create folder: "),
            0u);
  options.checkpointFolder = writeFile("a-file", "x");
  EXPECT_EQ(createFails().find(getPath("a-file") + ": "), 0u);
}

TEST_F(TrainerTest, ReadOnlyFolder) {
  // The superuser may write everywhere, another user not here. That user may be
  // shut out of the folders above, as of lit's: the path goes from here.
  llvm::SmallString<128> before;
  ASSERT_FALSE(llvm::sys::fs::current_path(before));
  ASSERT_FALSE(llvm::sys::fs::set_current_path(scratch));
  options.checkpointFolder = "checkpoints";
  llvm::cantFail(createDirectories(options.checkpointFolder));
  bool superuser = ::geteuid() == 0;
  ASSERT_EQ(::chmod(scratch.c_str(), 0755), 0);
  ASSERT_EQ(::chmod(options.checkpointFolder.c_str(), 0555), 0);
  ASSERT_EQ(superuser ? ::seteuid(65534) : 0, 0);
  std::string failure = createFails();
  ASSERT_EQ(superuser ? ::seteuid(0) : 0, 0);
  ASSERT_FALSE(llvm::sys::fs::set_current_path(before));
  EXPECT_EQ(failure, "checkpoints: cannot write to folder: Permission denied");
}

TEST_F(TrainerTest, StopsAtNaN) {
  options.checkpointFolder = getPath("checkpoints");
  options.clip = 0;
  int64_t calls = 0;
  std::unique_ptr<Trainer> trainer = makeTrainer();
  program.onCall = [&](llvm::StringRef name) {
    if (name == "gradients" && ++calls == 15)
      *static_cast<float *>(trainer->weights().lookup("table.weight")) = NAN;
  };
  EXPECT_EQ(getText(trainer->run()),
            "step 15: expected a finite loss, but got nan");
  EXPECT_EQ(listFolder("checkpoints"),
            (std::vector<std::string>{"step-00000010.safetensors"}));
}

TEST_F(TrainerTest, ChecksOptions) {
  options.steps = 0;
  EXPECT_EQ(createFails(),
            "steps: expected a finite value of at least 1, but got 0");
  options.steps = 1;
  options.learningRate = NAN;
  EXPECT_EQ(createFails(), "learning rate: expected a finite value of at least "
                           "0, but got nan");
  options.learningRate = 1;
  options.resume = true;
  EXPECT_EQ(createFails(), "resume: expected a checkpoint folder");
}

TEST_F(TrainerTest, NamesMissingFunctionsAndArguments) {
  program.functionInfos[0].arguments[0].name = "tokenz";
  EXPECT_EQ(createFails(), "function 'gradients': unknown argument 'tokenz'");
  program.functionInfos[0].name = "gradientz";
  EXPECT_EQ(createFails(), "the program has no function 'gradients'");
}

TEST_F(TrainerTest, TakesTheLearningRateOfTheConfiguration) {
  options.logPath = getPath("log.jsonl");
  options.learningRate.reset();
  options.steps = 1;
  options.warmupSteps = 0;
  EXPECT_EQ(createFails(), "learning rate: expected one, as the model's "
                           "configuration has no 'lr'");
  program.configuration["lr"] = 0.125;
  take(makeTrainer()->run());
  EXPECT_NE(readFile(options.logPath).find("\"lr\":0.125,"), std::string::npos);
}

TEST_F(TrainerTest, PrenormProgramsNeedNoGates) {
  program.configuration["residual"] = "prenorm";
  for (FunctionInfo &function : program.functionInfos)
    llvm::erase_if(function.arguments, [](const TensorInfo &argument) {
      return argument.name == "gate_scale" || argument.name == "gates";
    });
  options.logPath = getPath("log.jsonl");
  EXPECT_TRUE(take(makeTrainer()->run()).validation);
  EXPECT_EQ(readFile(options.logPath).find("gates"), std::string::npos);
}

} // namespace
