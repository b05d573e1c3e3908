// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/CacheRows.h"
#include "gtest/gtest.h"
#include <map>
#include <set>

using namespace nag::runtime;

namespace {

/// The rows of a list of the table.
std::set<int32_t> getRows(const CacheRows &rows, int64_t batch, int64_t width,
                          int64_t layer, int64_t sequence) {
  int64_t list = layer * batch + sequence;
  auto begin = rows.getTable().begin() + list * width;
  return {begin, begin + rows.getCounts()[list]};
}

TEST(CacheRows, LayersShareTheRowsOfASequence) {
  CacheRows rows(/*batch=*/2, /*budget=*/3, {4, 4}, /*width=*/4);
  EXPECT_EQ(rows.take(0, 1, 0), 0);
  EXPECT_EQ(rows.take(1, 1, 0), 1);
  EXPECT_EQ(rows.take(0, 1, 1), 2);
  EXPECT_EQ(rows.take(1, 1, 1), std::nullopt);
  EXPECT_EQ(rows.take(1, 0, 0), 0);
  EXPECT_EQ(rows.countTaken(0), 1);
  EXPECT_EQ(rows.countTaken(1), 3);
  EXPECT_EQ(rows.getCounts().vec(), (std::vector<int32_t>{0, 2, 1, 1}));
  rows.clear(1);
  EXPECT_EQ(rows.countTaken(1), 0);
  EXPECT_EQ(rows.take(1, 1, 7), 0);
}

/// What a list names are the rows of the positions that the next token sees,
/// none of them twice in a sequence, whatever was skipped.
TEST(CacheRows, KeepWhatTheNextTokenSees) {
  const int64_t width = 5;
  std::vector<int64_t> reach = {5, 2, 0};
  CacheRows rows(/*batch=*/1, /*budget=*/7, reach, width);
  std::map<std::pair<int64_t, int64_t>, int32_t> rowOf;
  for (int64_t position = 0; position < 40; ++position) {
    std::set<int32_t> all;
    size_t expected = 0;
    for (int64_t layer = 0; layer < 3; ++layer) {
      rows.release(layer, 0, position);
      bool isExecuted = (position * 7 + layer * 3) % 5 != 0;
      if (isExecuted && reach[layer] > 0) {
        auto row = rows.take(layer, 0, position);
        ASSERT_TRUE(row);
        rowOf[{layer, position}] = *row;
      }
      std::set<int32_t> seen;
      for (int64_t at = std::max<int64_t>(0, position + 1 - reach[layer]);
           at <= position; ++at)
        if (auto found = rowOf.find({layer, at}); found != rowOf.end())
          seen.insert(found->second);
      EXPECT_EQ(getRows(rows, 1, width, layer, 0), seen);
      all.insert(seen.begin(), seen.end());
      expected += seen.size();
    }
    EXPECT_EQ(all.size(), expected);
    EXPECT_EQ(rows.countTaken(0), int64_t(expected));
  }
}

TEST(CacheRows, SaysWhatChanged) {
  CacheRows rows(/*batch=*/1, /*budget=*/4, {2}, /*width=*/2);
  rows.take(0, 0, 0);
  rows.take(0, 0, 1);
  EXPECT_EQ(rows.takeChanges(), (std::vector<size_t>{0, 1}));
  EXPECT_TRUE(rows.takeChanges().empty());
  rows.release(0, 0, 2);
  EXPECT_EQ(rows.takeChanges(), (std::vector<size_t>{0}));
  EXPECT_EQ(rows.getTable()[0], 1);
}

} // namespace
