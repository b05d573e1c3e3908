// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Configurations: what follows from what, and the way through MLIR and back.
#include "nag/Model/Build.h"

#include "mlir/Parser/Parser.h"
#include "gtest/gtest.h"

using namespace llvm;
using namespace nag::model;

static ModelConfig
makeConfig(ArrayRef<std::pair<StringRef, StringRef>> settings) {
  ConfigBuilder builder;
  for (auto [key, value] : settings)
    cantFail(builder.setText(key, value, "test"));
  return cantFail(builder.finish());
}

TEST(Config, DerivesWhatIsNotSet) {
  ModelConfig config =
      makeConfig({{"width", "96"}, {"heads", "6"}, {"vocab", "300"}});
  EXPECT_EQ(config.kvHeads, 6);
  EXPECT_EQ(config.hidden, 384);
  EXPECT_EQ(config.paddedVocab, 300);
  EXPECT_EQ(config.lr, 3e-3);
  config = makeConfig({{"residual", "prenorm"}, {"kv_heads", "2"}});
  EXPECT_EQ(config.kvHeads, 2);
  EXPECT_EQ(config.lr, 1e-3);
  EXPECT_EQ(config.headStd, 0.02);
  EXPECT_EQ(makeConfig({{"residual", "prenorm"}, {"lr", "0.5"}}).lr, 0.5);
}

TEST(Config, WindowsFollowThePattern) {
  using Windows = std::vector<std::optional<int64_t>>;
  std::pair<StringRef, StringRef> seq{"seq", "2048"}, layers{"layers", "6"};
  EXPECT_EQ(makeConfig({seq, layers, {"window", "SSSL"}}).windows(),
            (Windows{512, 512, 512, std::nullopt, 512, std::nullopt}));
  EXPECT_EQ(makeConfig({seq, layers, {"window", "S"}}).windows(),
            (Windows{512, 512, 512, 512, 512, std::nullopt}));
  EXPECT_EQ(makeConfig({seq, {"layers", "2"}, {"window", "0"}}).windows(),
            (Windows{0, 0}));
  // A window that reaches the first position is none.
  EXPECT_EQ(makeConfig({{"seq", "128"}, {"layers", "1"}, {"window", "127"}})
                .windows(),
            (Windows{std::nullopt}));
  EXPECT_EQ(makeConfig({{"seq", "128"}, {"layers", "1"}, {"window", "126"}})
                .windows(),
            (Windows{126}));
}

TEST(Config, SurvivesTheModelText) {
  ModelConfig config = makeConfig({{"layers", "2"},
                                   {"mlp", "swiglu"},
                                   {"qk_norm", "learned"},
                                   {"window", "SL"},
                                   {"tied", "true"},
                                   {"dtype", "f64"},
                                   {"lr", "0.1"},
                                   {"eps", "0"},
                                   {"rope_base", "10000"}});
  mlir::MLIRContext context;
  loadModelDialects(context);
  std::string text;
  raw_string_ostream os(text);
  printModel(*buildModel(context, config), os);
  auto parsed = mlir::parseSourceString<mlir::ModuleOp>(text, &context);
  ASSERT_TRUE(parsed);
  ModelConfig read = cantFail(readConfig(*parsed, "test"));
  EXPECT_EQ(json::Value(toJSON(read)), json::Value(toJSON(config)));
}

TEST(Config, ReadsWhatItWrites) {
  ModelConfig config = makeConfig({{"window", "3"}, {"beta2", "0.999"}});
  ConfigBuilder builder;
  cantFail(builder.setAll(toJSON(config), "test"));
  EXPECT_EQ(json::Value(toJSON(cantFail(builder.finish()))),
            json::Value(toJSON(config)));
}

TEST(Config, NamesWhatIsWrongInAModule) {
  mlir::MLIRContext context;
  loadModelDialects(context);
  auto read = [&](StringRef attributes) {
    auto parsed = mlir::parseSourceString<mlir::ModuleOp>(
        ("module attributes {" + attributes + "} {}").str(), &context);
    return toString(readConfig(*parsed, "m.mlir").takeError());
  };
  EXPECT_EQ(read(""),
            "m.mlir: nag.config: expected a dictionary on the module, but got "
            "none");
  EXPECT_EQ(read("nag.config = {layers = \"four\"}"),
            "m.mlir: nag.config: layers: expected an integer in [1, 65536], "
            "but got \"four\"");
  EXPECT_EQ(read("nag.config = {layers = unit}"),
            "m.mlir: nag.config: layers: expected an integer in [1, 65536], "
            "but got null");
}
