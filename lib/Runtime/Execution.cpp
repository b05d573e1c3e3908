// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Execution.h"
#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

using namespace nag::runtime;

double SkipReport::mean() const {
  return share.empty() ? 0
                       : std::accumulate(share.begin(), share.end(), 0.0) /
                             double(share.size());
}

double ExecutedCount::at(const SkipReport &skips, int64_t routedLayers) const {
  double sums[2] = {0, 0}, lessPairs = 0;
  for (size_t i = 0; i < skips.share.size(); ++i) {
    double executed = 1 - skips.share[i];
    sums[i % 2] += skips.share[i];
    if (i % 2 == 0)
      lessPairs += 1 - executed * executed;
  }
  double layers = double(std::max<int64_t>(routedLayers, 1));
  return fixed + attention * (1 - sums[0] / layers) +
         mlp * (1 - sums[1] / layers) + pairs * (1 - lessPairs / layers);
}

std::vector<char> nag::runtime::markExecuted(llvm::ArrayRef<float> scores,
                                             int64_t count) {
  std::vector<char> marks(scores.size(), 0);
  if (count <= 0)
    return marks;
  std::vector<float> size;
  for (float score : scores)
    size.push_back(std::isnan(score) ? std::numeric_limits<float>::infinity()
                                     : std::abs(score));
  count = std::min<int64_t>(count, int64_t(size.size()));
  std::vector<float> order = size;
  std::nth_element(order.begin(), order.begin() + (count - 1), order.end(),
                   std::greater<float>());
  float last = order[count - 1];
  for (size_t i = 0; i < size.size(); ++i)
    if (size[i] > last) {
      marks[i] = 1;
      --count;
    }
  for (size_t i = 0; i < size.size() && count > 0; ++i)
    if (size[i] == last) {
      marks[i] = 1;
      --count;
    }
  return marks;
}

int64_t nag::runtime::countPairs(llvm::ArrayRef<char> executed,
                                 std::optional<int64_t> window,
                                 bool routesKeys) {
  int64_t length = int64_t(executed.size());
  int64_t reach = window ? std::min(*window, length) : length;
  // Executed tokens that the token at hand sees, where these are the keys.
  int64_t seen = 0, pairs = 0;
  for (int64_t t = 0; t < length; ++t) {
    if (t > reach)
      seen -= executed[t - reach - 1];
    seen += executed[t];
    if (executed[t])
      pairs += routesKeys ? seen : std::min(t, reach) + 1;
  }
  return pairs;
}
