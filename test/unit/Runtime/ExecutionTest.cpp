// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Execution.h"
#include "gtest/gtest.h"
#include <cmath>

using namespace nag::runtime;

namespace {

int64_t countSlowly(llvm::ArrayRef<char> executed,
                    std::optional<int64_t> window, bool routesKeys) {
  int64_t length = int64_t(executed.size()), pairs = 0;
  for (int64_t query = 0; query < length; ++query)
    for (int64_t key = 0; key <= query; ++key)
      pairs += executed[query] && (!routesKeys || executed[key]) &&
               query - key <= window.value_or(length);
  return pairs;
}

TEST(Execution, MarksTheLargest) {
  using Marks = std::vector<char>;
  EXPECT_EQ(markExecuted({1, -3, 2, 3, 2}, 3), (Marks{0, 1, 1, 1, 0}));
  EXPECT_EQ(markExecuted({0, 0, 0}, 2), (Marks{1, 1, 0}));
  EXPECT_EQ(markExecuted({1, NAN, 2}, 1), (Marks{0, 1, 0}));
  EXPECT_EQ(markExecuted({1, 2}, 0), (Marks{0, 0}));
  EXPECT_EQ(markExecuted({1, 2}, 2), (Marks{1, 1}));
}

TEST(Execution, CountsPairs) {
  for (int64_t length : {1, 2, 17}) {
    std::vector<char> executed;
    for (int64_t t = 0; t < length; ++t)
      executed.push_back((t * t + 1) % 3 != 0);
    for (bool routesKeys : {false, true}) {
      EXPECT_EQ(countPairs(executed, std::nullopt, routesKeys),
                countSlowly(executed, std::nullopt, routesKeys));
      for (int64_t window : {0, 1, 5, 16, 40})
        EXPECT_EQ(countPairs(executed, window, routesKeys),
                  countSlowly(executed, window, routesKeys))
            << length << ", " << window;
    }
  }
  EXPECT_EQ(countPairs({0, 0, 0}, std::nullopt, false), 0);
}

} // namespace
