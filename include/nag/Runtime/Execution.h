// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a routed program executes (depth routing, docs/mathematics.md section
// 4), and what that costs.
#ifndef NAG_RUNTIME_EXECUTION_H
#define NAG_RUNTIME_EXECUTION_H

#include "llvm/ADT/ArrayRef.h"
#include <cstdint>
#include <optional>
#include <vector>

namespace nag::runtime {

/// What the tokens of a batch skipped.
struct SkipReport {
  /// Per sub-layer, the share of tokens that skipped it.
  std::vector<double> share;
  /// Per sub-layer; empty where the program has no thresholds.
  std::vector<double> thresholds;
  /// The share that was asked for.
  double rate = 0;

  /// The share over all sub-layers.
  double mean() const;
};

/// A number that depends on what routed sub-layers skip: `fixed`, plus what all
/// routed attentions and all routed MLPs add when nothing is skipped, and what
/// pairs of routed queries and routed keys do, of which both become fewer.
struct ExecutedCount {
  double fixed = 0, attention = 0, mlp = 0, pairs = 0;

  /// With the shares of tokens that skip each of the sub-layers, attentions and
  /// MLPs in turn; those that the program always executes skip nothing.
  double at(const SkipReport &skips, int64_t routedLayers) const;
  /// With one share for all routed sub-layers.
  double at(double share) const {
    return fixed + (attention + mlp) * (1 - share) +
           pairs * (1 - share) * (1 - share);
  }
};

/// A routed attention, whose FLOPs follow from the pairs of queries and keys.
struct PairCosts {
  /// Among all sub-layers.
  int64_t subLayer = 0;
  /// Per pair of an executed query and a key that it sees.
  double flops = 0;
  /// How many positions before its own a query sees; none: all.
  std::optional<int64_t> window;
  /// Keys are those of executed tokens, else those of all tokens.
  bool routesKeys = false;
};

/// FLOPs of passes over one batch.
struct PassCosts {
  /// Where the pairs of routed attentions are as many as queries see that are
  /// spread evenly; the part of it that these pairs are.
  ExecutedCount flops, meanPairs;
  std::vector<PairCosts> pairs;
};

/// What a program costs, counted from its IR; zeros where nobody counted.
struct ExecutionCosts {
  /// Forward and backward passes.
  PassCosts batch;
  double optimizerFlops = 0;
  /// Trained numbers that a token meets in the forward pass; bytes of keys and
  /// values per token.
  ExecutedCount parametersPerToken, kvBytesPerToken;
};

/// What a step executed.
struct ExecutedReport {
  /// FLOPs of the step, and of all steps so far.
  double flops = 0, totalFlops = 0;
  double parametersPerToken = 0, kvBytesPerToken = 0;
};

/// True for the `count` largest scores, of equals the earlier; NaN counts as
/// the largest. Under every policy these are the tokens of a sequence that a
/// sub-layer executes.
std::vector<char> markExecuted(llvm::ArrayRef<float> scores, int64_t count);

/// The pairs of an executed token and a key that it sees, of one sequence.
int64_t countPairs(llvm::ArrayRef<char> executed, std::optional<int64_t> window,
                   bool routesKeys);

} // namespace nag::runtime

#endif // NAG_RUNTIME_EXECUTION_H
