// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Random.h"
#include "TestUtilities.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Parameters.h"
#include <cmath>
#include <limits>

using namespace nag::runtime;

namespace {

using Words = std::array<uint32_t, 4>;

/// Known answers of the Random123 library (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  uint32_t ones = ~0u;
  EXPECT_EQ(philox4x32({ones, ones, ones, ones}, {ones, ones}),
            (Words{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
                       {0xa4093822, 0x299f31d0}),
            (Words{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(RandomStream, StreamsDiffer) {
  uint64_t first = RandomStream(1, "init", "a").bits(0);
  EXPECT_EQ(RandomStream(1, "init", "a").bits(0), first);
  EXPECT_NE(RandomStream(1, "init", "a").bits(1), first);
  EXPECT_NE(RandomStream(2, "init", "a").bits(0), first);
  EXPECT_NE(RandomStream(uint64_t(1) << 32 | 1, "init", "a").bits(0), first);
  EXPECT_NE(RandomStream(1, "init", "b").bits(0), first);
  EXPECT_NE(RandomStream(1, "inita", "").bits(0), first);
}

template <typename Draw> std::array<double, 4> getMoments(Draw draw) {
  constexpr int64_t count = 200000;
  std::array<double, 4> moments = {};
  for (int64_t i = 0; i < count; ++i) {
    double power = 1, value = draw(i);
    for (double &moment : moments)
      moment += (power *= value) / count;
  }
  return moments;
}

TEST(RandomStream, Moments) {
  RandomStream random(3, "test");
  auto uniform = getMoments([&](int64_t i) { return random.uniform(i) - 0.5; });
  EXPECT_NEAR(uniform[0], 0, 0.003);
  EXPECT_NEAR(uniform[1], 1.0 / 12, 0.001);
  EXPECT_NEAR(uniform[3], 1.0 / 80, 0.0005);
  auto normal = getMoments([&](int64_t i) { return random.normal(i); });
  EXPECT_NEAR(normal[0], 0, 0.01);
  EXPECT_NEAR(normal[1], 1, 0.015);
  EXPECT_NEAR(normal[2], 0, 0.04);
  EXPECT_NEAR(normal[3], 3, 0.1);
}

TEST(RandomStream, BelowIsEven) {
  RandomStream random(4, "test");
  std::array<int, 7> counts = {};
  for (int64_t i = 0; i < 70000; ++i)
    ++counts.at(random.below(i, 7));
  for (int count : counts)
    EXPECT_NEAR(count, 10000, 400);
  EXPECT_EQ(random.below(0, 1), 0u);
}

TEST(Elements, RoundTrips) {
  for (DType dtype : {DType::F64, DType::F32, DType::F16, DType::BF16}) {
    double storage[2] = {};
    for (double value : {0.0, -1.5, 0.0078125, 96.0}) {
      writeElement(dtype, storage, 1, value);
      EXPECT_EQ(readElement(dtype, storage, 1), value) << getName(dtype).str();
    }
    writeElement(dtype, storage, 0, std::numeric_limits<double>::infinity());
    EXPECT_TRUE(std::isinf(readElement(dtype, storage, 0)));
    writeElement(dtype, storage, 0, NAN);
    EXPECT_TRUE(std::isnan(readElement(dtype, storage, 0)));
  }
  // Half way between two bfloat16 values: to the even one.
  uint16_t half;
  writeElement(DType::BF16, &half, 0, 1 + 1.0 / 256);
  EXPECT_EQ(half, 0x3f80);
  writeElement(DType::BF16, &half, 0, 1 + 3.0 / 256);
  EXPECT_EQ(half, 0x3f82);
}

TEST(Elements, Names) {
  for (int i = 0; i <= int(DType::Bool); ++i) {
    auto dtype = DType(i);
    EXPECT_EQ(parseDType(getName(dtype)), dtype);
    EXPECT_EQ(parseSafetensorsDType(getSafetensorsName(dtype)), dtype);
  }
  EXPECT_EQ(parseDType("f31"), std::nullopt);
  EXPECT_EQ(formatType(DType::BF16, {2, 3}), "2x3xbf16");
  EXPECT_EQ(formatType(DType::F32, {}), "f32");
}

class InitTest : public testing::Test {
protected:
  /// The elements of a parameter of 64 x 64 with these initial values.
  std::vector<double> initialize(Init init, DType dtype = DType::F32,
                                 uint64_t seed = 0) {
    BigramProgram program(1, 4, 8);
    program.functionInfos.clear();
    program.parameterInfos = {
        {"x.{layer}", 64, dtype, {64, 64}, "matrix", init, ""}};
    ParameterBuffers buffers =
        take(ParameterBuffers::create(program, "", false));
    EXPECT_EQ(getText(buffers.initialize(seed)), "");
    std::vector<double> values;
    for (int64_t i = 0; i < 4096; ++i)
      values.push_back(readElement(dtype, buffers.lookup("x.{layer}"), i));
    return values;
  }

  static double getDeviation(const std::vector<double> &values) {
    double squares = 0;
    for (double value : values)
      squares += value * value;
    return std::sqrt(squares / double(values.size()));
  }
};

TEST_F(InitTest, Kinds) {
  Init init;
  EXPECT_EQ(initialize(init), std::vector<double>(4096, 0.0));
  init.kind = Init::Kind::Constant;
  init.value = 0.5;
  EXPECT_EQ(initialize(init), std::vector<double>(4096, 0.5));
  init.kind = Init::Kind::Normal;
  init.std = 0.02;
  EXPECT_NEAR(getDeviation(initialize(init)), 0.02, 0.001);
  EXPECT_NEAR(getDeviation(initialize(init, DType::BF16)), 0.02, 0.001);
  init.kind = Init::Kind::Uniform;
  std::vector<double> uniform = initialize(init, DType::F64);
  EXPECT_NEAR(getDeviation(uniform), 0.02, 0.001);
  EXPECT_LE(*std::max_element(uniform.begin(), uniform.end()),
            0.02 * std::sqrt(3.0));
  EXPECT_NE(initialize(init, DType::F64, 1), uniform);
  EXPECT_EQ(initialize(init, DType::F64), uniform);
}

TEST_F(InitTest, PowerOfTheLayer) {
  Init init;
  init.kind = Init::Kind::Power;
  init.exponent = -0.5;
  init.stride = 2;
  init.offset = 1;
  std::vector<double> values = initialize(init, DType::F64);
  for (int64_t i = 0; i < 4096; ++i)
    ASSERT_EQ(values[i], std::pow(2.0 * double(i / 64) + 1, -0.5));
}

TEST_F(InitTest, ChecksParameters) {
  BigramProgram program(1, 4, 8);
  program.functionInfos.clear();
  auto fail = [&](ParameterInfo info) {
    program.parameterInfos = {std::move(info)};
    return getText(ParameterBuffers::create(program, "", false));
  };
  EXPECT_EQ(fail({"x", 0, DType::I32, {2}, "", {}, ""}),
            "parameter 'x': expected a float type, but got i32");
  EXPECT_EQ(fail({"x", 2, DType::F32, {2}, "", {}, ""}),
            "parameter 'x': expected \"{layer}\" in the name of a stack and "
            "only there");
  EXPECT_EQ(fail({"x.{layer}", 2, DType::F32, {3}, "", {}, ""}),
            "parameter 'x.{layer}': expected a leading dimension of 2 layers, "
            "but got 3xf32");
}

} // namespace
