// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Dataset.h"
#include "TestUtilities.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FileSystem.h"
#include <numeric>
#include <set>

using namespace nag::runtime;

namespace {

class DatasetTest : public ScratchTest {
protected:
  llvm::Expected<Dataset> open(std::vector<std::string> paths,
                               int64_t vocabulary = 256,
                               double fraction = 0.25) {
    DatasetOptions options;
    options.paths = std::move(paths);
    options.vocabulary = vocabulary;
    options.validationFraction = fraction;
    return Dataset::open(options);
  }

  static std::string getStreamText(const TokenStream &stream) {
    std::vector<int32_t> tokens(stream.size());
    stream.copy(0, stream.size(), tokens.data());
    return std::string(tokens.begin(), tokens.end());
  }
};

TEST_F(DatasetTest, SplitsEveryFileAtItsTail) {
  Dataset data = take(open({writeFile("b", "abcdefgh"), writeFile("a", "1234"),
                            writeFile("c", "xyz")}));
  EXPECT_EQ(getStreamText(data.training()), "abcdef123xyz");
  EXPECT_EQ(getStreamText(data.validation()), "gh4");
  EXPECT_EQ(data.bytesPerToken(), 1);
  std::vector<int32_t> tokens(5);
  data.training().copy(4, 5, tokens.data());
  EXPECT_EQ(std::string(tokens.begin(), tokens.end()), "ef123");
}

TEST_F(DatasetTest, FoldersAreSortedAndFiltered) {
  writeFile("d/b", "b");
  writeFile("d/a/z", "z");
  writeFile("d/c.dat", "kept: no file c");
  writeFile("d/e", "e");
  writeFile("d/e.dat", "index");
  writeFile("d/.hidden/f", "hidden");
  writeFile("d/.g", "hidden");
  writeFile("d/empty", "");
  writeFile("d/binary", llvm::StringRef("a\0b", 3));
  ASSERT_FALSE(llvm::sys::fs::create_link(getPath("d/b"), getPath("d/b.u8")));
  EXPECT_EQ(take(findDataFiles({getPath("d")})),
            (std::vector<std::string>{getPath("d/a/z"), getPath("d/b"),
                                      getPath("d/c.dat"), getPath("d/e")}));
  EXPECT_EQ(take(findDataFiles({getPath("d/e.dat")})).size(), 1u);
}

TEST_F(DatasetTest, TokenFiles) {
  std::string narrow = writeFile("a.bin", llvm::StringRef("\1\0\2\1\3\0", 6));
  Dataset data = take(open({narrow}, 300, 0));
  std::vector<int32_t> tokens(3);
  data.training().copy(0, 3, tokens.data());
  EXPECT_EQ(tokens, (std::vector<int32_t>{1, 258, 3}));
  EXPECT_EQ(data.bytesPerToken(), 0);
  std::string wide = writeFile("b.bin", llvm::StringRef("\1\0\1\0\2\0\0\0", 8));
  Dataset wideData = take(open({wide}, 70000, 0));
  EXPECT_EQ(wideData.training().size(), 2);
  wideData.training().copy(0, 1, tokens.data());
  EXPECT_EQ(tokens[0], 65537);
}

TEST_F(DatasetTest, NamesFileAndOffsetOfForeignTokens) {
  std::string path = writeFile("a.bin", llvm::StringRef("\1\0\2\1\3\0", 6));
  EXPECT_EQ(getText(open({path}, 258)),
            path + ": byte offset 2: expected a token below the vocabulary of "
                   "258, but got 258");
  path = writeFile("text", "abc\xff");
  EXPECT_EQ(getText(open({path}, 128)),
            path + ": byte offset 3: expected a token below the vocabulary of "
                   "128, but got 255");
  path = writeFile("b.bin", llvm::StringRef("\xff\xff\xff\xff", 4));
  EXPECT_EQ(getText(open({path}, 70000)),
            path + ": byte offset 0: expected a token below the vocabulary of "
                   "70000, but got 4294967295");
}

TEST_F(DatasetTest, Errors) {
  EXPECT_EQ(getText(open({})), "expected at least one data file");
  EXPECT_EQ(getText(open({getPath("none")})),
            getPath("none") + ": cannot open: No such file or directory");
  std::string empty = writeFile("empty", "");
  EXPECT_EQ(getText(open({empty})),
            empty + ": expected data, but the file is empty");
  writeFile("d/.hidden", "x");
  EXPECT_EQ(getText(open({getPath("d")})),
            getPath("d") +
                ": expected a folder with text or .bin files, but found none");
  std::string odd = writeFile("odd.bin", "abc");
  EXPECT_EQ(getText(open({odd})),
            odd +
                ": expected a multiple of 2 bytes (16-bit tokens), but got 3");
  std::string text = writeFile("text", "abc");
  EXPECT_EQ(getText(open({text, odd})),
            odd + ": expected a text file like " + text);
  EXPECT_EQ(getText(open({text}, 0)),
            "vocabulary: expected 1 to 2147483647 tokens, but got 0");
  EXPECT_EQ(getText(open({text}, int64_t(1) << 31)),
            "vocabulary: expected 1 to 2147483647 tokens, but got 2147483648");
  EXPECT_EQ(getText(open({text}, 256, 1.5)),
            "validation fraction: expected 0 to 1, but got 1.5");
  EXPECT_NE(getText(open({"/dev/null"})), "");
}

TEST_F(DatasetTest, FingerprintTellsDataApart) {
  std::string a = writeFile("a", std::string(10000, 'x'));
  std::string b = writeFile("b", std::string(9999, 'x') + "y");
  uint64_t first = take(open({a})).fingerprint();
  EXPECT_EQ(take(open({a})).fingerprint(), first);
  EXPECT_NE(take(open({b})).fingerprint(), first);
  EXPECT_NE(take(open({a, b})).fingerprint(), take(open({b, a})).fingerprint());
  EXPECT_NE(take(open({a}, 256, 0.5)).fingerprint(), first);
}

std::string makeCounter(size_t size) {
  std::string text(size, '\0');
  std::iota(text.begin(), text.end(), 0);
  return text;
}

TEST_F(DatasetTest, TargetsAreTheNextTokens) {
  Dataset data = take(open({writeFile("a", makeCounter(200))}, 256, 0));
  auto batches = take(TrainingBatches::create(data.training(), 3, 8, 1));
  std::vector<int32_t> tokens(24), targets(24);
  batches.fill(0, tokens.data(), targets.data());
  for (int row = 0; row < 3; ++row)
    for (int i = 0; i < 8; ++i) {
      EXPECT_EQ(tokens[row * 8 + i], tokens[row * 8] + i);
      EXPECT_EQ(targets[row * 8 + i], tokens[row * 8 + i] + 1);
    }
}

TEST_F(DatasetTest, EveryEpochVisitsEveryWindowOnce) {
  Dataset data = take(open({writeFile("a", makeCounter(1003))}, 256, 0));
  auto batches = take(TrainingBatches::create(data.training(), 1, 10, 5));
  int64_t windows = batches.windowsPerEpoch();
  EXPECT_EQ(windows, 99);
  std::vector<std::vector<int64_t>> orders;
  for (int64_t epoch = 0; epoch < 3; ++epoch) {
    std::vector<int64_t> order;
    for (int64_t i = 0; i < windows; ++i)
      order.push_back(batches.getWindowBegin(epoch * windows + i));
    int64_t least = *std::min_element(order.begin(), order.end());
    EXPECT_LE(least + windows * 10 + 1, 1003);
    std::set<int64_t> places;
    for (int64_t begin : order)
      places.insert((begin - least) / 10 * 10 + least);
    EXPECT_EQ(places.size(), size_t(windows));
    EXPECT_FALSE(llvm::is_sorted(order));
    orders.push_back(order);
  }
  EXPECT_NE(orders[0], orders[1]);
  auto again = take(TrainingBatches::create(data.training(), 1, 10, 5));
  auto other = take(TrainingBatches::create(data.training(), 1, 10, 6));
  EXPECT_EQ(again.getWindowBegin(42), orders[0][42]);
  EXPECT_NE(other.getWindowBegin(42), orders[0][42]);
}

TEST_F(DatasetTest, SmallestTrainingData) {
  Dataset data = take(open({writeFile("a", makeCounter(33))}, 256, 0));
  std::vector<int32_t> tokens(32), targets(32);
  auto batches = take(TrainingBatches::create(data.training(), 4, 8, 0));
  batches.fill(0, tokens.data(), targets.data());
  take(TrainingBatches::create(data.training(), 1, 32, 0))
      .fill(7, tokens.data(), targets.data());
  EXPECT_EQ(targets[31], 32);
  EXPECT_EQ(getText(TrainingBatches::create(data.training(), 4, 9, 0)),
            "training data: expected at least 37 tokens (one batch of 4 x 9), "
            "but got 33");
}

TEST_F(DatasetTest, ValidationCountsEveryTokenOnce) {
  Dataset data = take(open({writeFile("a", makeCounter(100))}, 256, 1));
  auto batches = take(ValidationBatches::create(data.validation(), 2, 16));
  EXPECT_EQ(batches.count(), 4);
  std::vector<int32_t> tokens(32), targets(32), seen;
  int64_t counted = 0;
  for (int64_t i = 0; i < batches.count(); ++i) {
    counted += batches.fill(i, tokens.data(), targets.data());
    for (int j = 0; j < 32; ++j)
      if (targets[j] >= 0) {
        EXPECT_EQ(targets[j], tokens[j] + 1);
        seen.push_back(targets[j]);
      }
  }
  std::vector<int32_t> expected(99);
  std::iota(expected.begin(), expected.end(), 1);
  EXPECT_EQ(seen, expected);
  EXPECT_EQ(counted, 99);
  EXPECT_EQ(getText(ValidationBatches::create(data.training(), 2, 16)),
            "validation data: expected at least 2 tokens, but got 0");
}

} // namespace
