// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Generator.h"
#include "TestUtilities.h"
#include "nag/Runtime/Checkpoint.h"
#include "nag/Runtime/Evaluator.h"
#include <cmath>
#include <limits>

using namespace nag::runtime;

namespace {

SamplerOptions makeOptions(double temperature, int64_t topK,
                           uint64_t seed = 0) {
  SamplerOptions options;
  options.temperature = temperature;
  options.topK = topK;
  options.seed = seed;
  return options;
}

TEST(Sampler, GreedyTakesTheFirstLargest) {
  Sampler sampler(makeOptions(0, 0));
  EXPECT_EQ(take(sampler.sample({1, 3, 2, 3}, 0)), 1);
  EXPECT_EQ(take(sampler.sample({1}, 5)), 0);
  double nan = NAN, infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(take(sampler.sample({nan, infinity, -5, -infinity}, 0)), 2);
}

TEST(Sampler, RefusesLogitsOfWhichNoneIsFinite) {
  for (double temperature : {0.0, 1.0}) {
    Sampler sampler(makeOptions(temperature, 0));
    EXPECT_EQ(getText(sampler.sample({NAN, INFINITY}, 3).takeError()),
              "token 3: expected a finite logit, but got nan and no other");
  }
}

TEST(Sampler, FollowsTheSoftmax) {
  Sampler sampler(makeOptions(2, 0));
  std::array<int, 3> counts = {};
  for (int64_t i = 0; i < 40000; ++i)
    ++counts.at(
        take(sampler.sample({0, 2 * std::log(2.0), 2 * std::log(5.0)}, i)));
  EXPECT_NEAR(counts[0], 5000, 250);
  EXPECT_NEAR(counts[1], 10000, 350);
  EXPECT_NEAR(counts[2], 25000, 400);
}

TEST(Sampler, TopKDrawsFromTheLargest) {
  Sampler sampler(makeOptions(1, 2));
  std::array<int, 4> counts = {};
  for (int64_t i = 0; i < 1000; ++i)
    ++counts.at(take(sampler.sample({1, 1, 2, 0}, i)));
  EXPECT_EQ(counts[1] + counts[3], 0);
  EXPECT_GT(counts[0], 200);
  EXPECT_GT(counts[2], 600);
  EXPECT_EQ(take(Sampler(makeOptions(1, 99)).sample({-1e30, 5}, 0)), 1);
}

TEST(Sampler, ChecksOptions) {
  EXPECT_EQ(getText(makeOptions(-1, 0).check()),
            "temperature: expected a finite value of at least 0, but got -1");
  EXPECT_EQ(getText(makeOptions(1, -2).check()),
            "top-k: expected at least 0, but got -2");
}

class GeneratorTest : public ScratchTest {
protected:
  static constexpr int64_t vocab = 8;

  GeneratorTest()
      : program(2, 4, vocab),
        weights(take(ParameterBuffers::create(program, "", true))) {
    // Token t is followed by t + 1; both layers are silent.
    auto *table = static_cast<float *>(weights.lookup("table.weight"));
    for (int64_t t = 0; t < vocab; ++t)
      table[t * vocab + (t + 1) % vocab] = 5;
  }

  std::string generate(llvm::ArrayRef<int32_t> prompt, int64_t count,
                       const SamplerOptions &options) {
    auto generator = take(Generator::create(program, weights));
    std::string digits;
    std::string failure =
        getText(generator->generate(prompt, count, options, [&](int32_t token) {
          digits += char('0' + token);
          return true;
        }));
    return failure.empty() ? digits : failure;
  }

  BigramProgram program;
  ParameterBuffers weights;
};

TEST_F(GeneratorTest, GreedySlidesTheWindow) {
  EXPECT_EQ(generate({3}, 12, makeOptions(0, 0)), "456701234567");
  EXPECT_EQ(generate({7, 6, 5, 4, 3, 2}, 3, makeOptions(0, 0)), "345");
}

TEST_F(GeneratorTest, SeedsDecide) {
  std::string first = generate({0}, 40, makeOptions(3, 0, 1));
  EXPECT_EQ(first.size(), 40u);
  EXPECT_EQ(generate({0}, 40, makeOptions(3, 0, 1)), first);
  EXPECT_NE(generate({0}, 40, makeOptions(3, 0, 2)), first);
}

TEST_F(GeneratorTest, PaddingIsNeverDrawn) {
  program.configuration["vocab"] = 3;
  std::string drawn = generate({0}, 50, makeOptions(10, 0));
  EXPECT_EQ(drawn.find_first_not_of("012"), std::string::npos) << drawn;
}

TEST_F(GeneratorTest, Stops) {
  auto generator = take(Generator::create(program, weights));
  int64_t tokens = 0;
  EXPECT_EQ(getText(generator->generate({0}, 10, makeOptions(0, 0),
                                        [&](int32_t) { return ++tokens < 4; })),
            "");
  EXPECT_EQ(tokens, 4);
}

TEST_F(GeneratorTest, ChecksThePrompt) {
  EXPECT_EQ(generate({}, 1, {}), "prompt: expected at least one token");
  EXPECT_EQ(generate({1, 8}, 1, {}),
            "prompt: position 1: expected a token below the vocabulary of 8, "
            "but got 8");
}

TEST_F(GeneratorTest, LoadsWeights) {
  std::vector<SafetensorsSource> sources;
  weights.appendSources(sources);
  CheckpointFolder folder =
      take(CheckpointFolder::open(getPath("folder"), /*keep=*/0));
  EXPECT_EQ(getText(loadWeights(program, getPath("folder"))),
            getPath("folder") +
                ": expected a folder with checkpoints, but found none");
  ASSERT_EQ(getText(folder.save({}, program.config(), sources)), "");
  program.configuration["batch"] = 99;
  program.configuration["lr"] = 0.5;
  ParameterBuffers loaded = take(loadWeights(program, getPath("folder")));
  EXPECT_EQ(0, std::memcmp(loaded.lookup("table.weight"),
                           weights.lookup("table.weight"), vocab * vocab * 4));
  program.configuration["layers"] = 4;
  std::string path = folder.getPath(0);
  EXPECT_EQ(getText(loadWeights(program, path)),
            path + ": config field 'layers': expected 4, but got 2");
}

TEST_F(GeneratorTest, LoadsPlainSafetensors) {
  std::vector<SafetensorsSource> sources;
  weights.appendSources(sources);
  std::string path = getPath("plain.safetensors");
  ASSERT_EQ(getText(writeSafetensors(path, sources, {})), "");
  take(loadWeights(program, path));
  SafetensorsSource more = sources.front();
  more.name = "lm_head.bias";
  sources.push_back(more);
  ASSERT_EQ(getText(writeSafetensors(path, sources, {})), "");
  EXPECT_EQ(getText(loadWeights(program, path)),
            path + ": tensor 'lm_head.bias': not a parameter of this model");
  sources.pop_back();
  sources.erase(sources.begin());
  ASSERT_EQ(getText(writeSafetensors(path, sources, {})), "");
  EXPECT_EQ(getText(loadWeights(program, path)),
            path + ": tensor 'table.weight': expected 8x8xf32, but the file "
                   "has no such tensor");
}

TEST_F(GeneratorTest, Evaluates) {
  DatasetOptions options;
  std::string text;
  for (int i = 0; i < 101; ++i)
    text += char(i % vocab);
  options.paths = {writeFile("text", text)};
  options.vocabulary = vocab;
  options.validationFraction = 1;
  Dataset data = take(Dataset::open(options));
  NamedBuffers buffers(program);
  Evaluator evaluator = take(Evaluator::create(program, weights, buffers));
  Evaluation all = take(evaluator.run(data, {}));
  double expected = std::log(std::exp(5.0) + vocab - 1) - 5;
  EXPECT_EQ(all.tokens, 100);
  EXPECT_NEAR(all.loss, expected, 1e-6);
  EXPECT_NEAR(*all.bitsPerByte, expected / std::log(2.0), 1e-6);
  EvaluatorOptions some;
  some.maxBatches = 3;
  EXPECT_EQ(take(evaluator.run(data, some)).tokens, 24);
}

} // namespace
