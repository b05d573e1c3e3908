// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Metrics.h"
#include "TestUtilities.h"
#include "nag/Runtime/Interrupt.h"
#include "nag/Runtime/Progress.h"
#include "nag/Runtime/Schedule.h"
#include <cmath>

using namespace nag::runtime;

namespace {

TEST(Schedule, WarmUpThenCosine) {
  LearningRate rate{1.0, 10, 110, Decay::Cosine, 0.1};
  EXPECT_DOUBLE_EQ(rate.at(1), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(10), 1.0);
  EXPECT_DOUBLE_EQ(rate.at(11), 1.0);
  EXPECT_DOUBLE_EQ(rate.at(61), 0.55);
  EXPECT_GT(rate.at(110), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(111), 0.1);
  EXPECT_DOUBLE_EQ(rate.at(1000), 0.1);
}

TEST(Schedule, LinearAndConstant) {
  LearningRate linear{2.0, 0, 100, Decay::Linear, 0};
  EXPECT_DOUBLE_EQ(linear.at(1), 2.0);
  EXPECT_DOUBLE_EQ(linear.at(51), 1.0);
  EXPECT_NEAR(linear.at(100), 0.02, 1e-15);
  LearningRate constant{2.0, 4, 100, Decay::None, 0};
  EXPECT_DOUBLE_EQ(constant.at(2), 1.0);
  EXPECT_DOUBLE_EQ(constant.at(99), 2.0);
}

TEST(Schedule, AllWarmUp) {
  LearningRate rate{1.0, 40, 10, Decay::Cosine, 0};
  EXPECT_DOUBLE_EQ(rate.at(10), 0.25);
  EXPECT_TRUE(std::isfinite(rate.at(41)));
}

TEST(Schedule, GateScale) {
  EXPECT_DOUBLE_EQ(getGateScale(1, 50), 0.02);
  EXPECT_DOUBLE_EQ(getGateScale(50, 50), 1);
  EXPECT_DOUBLE_EQ(getGateScale(51, 50), 1);
  EXPECT_DOUBLE_EQ(getGateScale(1, 0), 1);
}

TEST(GateHealth, MeansFloorsAndDeadLayers) {
  TensorInfo info{"gates", DType::F32, {3, 2, 2}, TensorInfo::Access::Write};
  float gates[12] = {0.5f,  0.5f,  1.0f,  0.0f, // open, one token at the floor
                     0.0f,  1e-6f, 0.0f,  0.0f, // dead
                     0.03f, 0.03f, 0.03f, 0.03f};
  GateHealth health = GateHealth::compute(info, gates, 0.5);
  EXPECT_EQ(health.mean[0], 1.0);
  EXPECT_EQ(health.floor, (std::vector<double>{0.25, 1.0, 0.0}));
  // 0.06 without the warm-up factor: alive.
  EXPECT_EQ(health.countDead(), 1);
  EXPECT_EQ(GateHealth::compute(info, gates, 1).countDead(), 2);
}

TEST(GateHealth, AnglesAndLogNormsOfTheUpdate) {
  TensorInfo info{"gates", DType::F64, {2, 1, 2}, TensorInfo::Access::Write};
  double gates[4] = {1, -1, 0, 2};
  GateHealth health = GateHealth::compute(info, gates, 0.5);
  EXPECT_DOUBLE_EQ(health.angle[0], std::atan(1));
  EXPECT_DOUBLE_EQ(health.angle[1], std::atan(2) / 2);
  EXPECT_DOUBLE_EQ(health.logGain[0], std::log(2) / 2);
  EXPECT_DOUBLE_EQ(health.logGain[1], std::log(5) / 4);
}

StepMetrics makeStep(int64_t step) {
  StepMetrics metrics;
  metrics.step = step;
  metrics.loss = 2.5;
  metrics.learningRate = 1e-3;
  metrics.gradientNorm = 0.5;
  metrics.tokens = step * 64;
  metrics.tokensPerSecond = 1000;
  metrics.seconds = {0, 0.5, 0.25};
  return metrics;
}

TEST(Metrics, Json) {
  StepMetrics metrics = makeStep(3);
  EXPECT_EQ(formatJson(metrics),
            R"({"step":3,"loss":2.5,"lr":0.001,"grad_norm":0.5,"tokens":192,)"
            R"("tokens_per_s":1000,)"
            R"("seconds":{"data":0,"gradients":0.5,"apply":0.25}})");
  metrics.validation = Evaluation{1.5, 2.25, 9};
  metrics.gates = GateHealth{{0.5, 0.01}, {0, 1}, {0.25, 0}, {0.125, 0}};
  EXPECT_NE(formatJson(metrics).find(
                R"("val_loss":1.5,"val_bits_per_byte":2.25,"val_tokens":9,)"
                R"("gates":{"mean":[0.5,0.01],"floor":[0,1],)"
                R"("angle":[0.25,0],"log_gain":[0.125,0],"dead":1}})"),
            std::string::npos);
  metrics.loss = NAN;
  EXPECT_NE(formatJson(metrics).find(R"("loss":null)"), std::string::npos);
}

class MetricsLogTest : public ScratchTest {};

TEST_F(MetricsLogTest, ResumeDropsLaterSteps) {
  std::string path = getPath("log"), expected;
  for (int64_t step = 1; step <= 3; ++step)
    expected += formatJson(makeStep(step)) + "\n";
  writeFile("log", expected + formatJson(makeStep(4)) + "\n{\"step\":5,\"lo");
  MetricsLog log = take(MetricsLog::open(path, 3));
  EXPECT_EQ(readFile(path), expected);
  EXPECT_EQ(getText(log.write(makeStep(4))), "");
  EXPECT_EQ(readFile(path), expected + formatJson(makeStep(4)) + "\n");
}

TEST_F(MetricsLogTest, ResumeDropsAPartialLine) {
  std::string line = formatJson(makeStep(1)) + "\n";
  std::string path = writeFile("log", line + "{\"step\":2,\"lo");
  take(MetricsLog::open(path, 10));
  EXPECT_EQ(readFile(path), line);
}

TEST_F(MetricsLogTest, StartsAnew) {
  std::string path = writeFile("log", formatJson(makeStep(1)) + "\n");
  take(MetricsLog::open(path, 0));
  EXPECT_EQ(readFile(path), "");
  take(MetricsLog::open(getPath("new"), 7));
  EXPECT_EQ(getText(MetricsLog::open(getPath("no/log"), 0)),
            getPath("no/log") +
                ": cannot open for writing: No such file or directory");
}

std::string showProgress(bool terminal, int64_t steps) {
  std::string text;
  llvm::raw_string_ostream stream(text);
  Progress progress(&stream, terminal, 0, steps);
  for (int64_t step = 1; step <= steps; ++step) {
    StepMetrics metrics = makeStep(step);
    if (step == 30)
      metrics.validation = Evaluation{2.0, std::nullopt, 9};
    progress.update(metrics);
  }
  progress.message("done");
  return text;
}

TEST(Progress, PlainLines) {
  std::string text = showProgress(false, 40);
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(text.rfind("step 1/40  loss 2.5000  1000 tokens/s  ETA 0:00\n", 0),
            0u);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 22);
  EXPECT_NE(text.find("validation 2.0000\n"), std::string::npos);
}

TEST(Progress, TerminalLineIsRedrawn) {
  std::string text = showProgress(true, 40);
  // Once at the start, at the validation, after it, and at the end.
  EXPECT_EQ(std::count(text.begin(), text.end(), '\r'), 4);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 3);
  EXPECT_NE(text.find("\r[====================] step 40/40"),
            std::string::npos);
}

TEST(Progress, Durations) {
  EXPECT_EQ(formatDuration(7), "0:07");
  EXPECT_EQ(formatDuration(754), "12:34");
  EXPECT_EQ(formatDuration(3723), "1:02:03");
  EXPECT_EQ(formatDuration(-1), "0:00");
}

TEST(Interrupt, NotesTheFirstSignal) {
  InterruptGuard guard;
  EXPECT_EQ(guard.pending(), 0);
  raise(SIGTERM);
  EXPECT_EQ(guard.pending(), SIGTERM);
}

TEST(Interrupt, UsesTheSignalStack) {
  InterruptGuard guard;
  for (int number : {SIGINT, SIGTERM}) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    EXPECT_TRUE(action.sa_flags & SA_ONSTACK);
  }
}

TEST(Interrupt, SecondSignalEndsTheProcess) {
  auto interruptTwice = [] {
    InterruptGuard guard;
    raise(SIGINT);
    raise(SIGINT);
  };
  EXPECT_EXIT(interruptTwice(), testing::KilledBySignal(SIGINT), "");
}

} // namespace
