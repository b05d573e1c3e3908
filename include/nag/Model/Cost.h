// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What a training step costs, counted from the IR.
#ifndef NAG_MODEL_COST_H
#define NAG_MODEL_COST_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace nag::model {

/// A count that depends on how many tokens the routed sub-layers execute (depth
/// routing, docs/mathematics.md section 4) where that is decided at run time.
/// All of them are taken to be equally dear.
struct RoutedCount {
  /// What every batch costs; a capacity that is known when compiling included.
  double fixed = 0;
  /// What the routed attentions, and the routed MLPs, cost together when every
  /// token is executed.
  double attention = 0, mlp = 0;
  /// Likewise, what pairs of routed queries and routed keys cost: of tokens
  /// that are spread evenly, a query sees the share of keys that is executed.
  double pairs = 0;

  /// When such shares of the tokens skip the routed sub-layers.
  double at(double attentionSkips, double mlpSkips) const {
    double executed = 1 - attentionSkips;
    return fixed + attention * executed + mlp * (1 - mlpSkips) +
           pairs * executed * executed;
  }
  double all() const { return at(0, 0); }

  RoutedCount &operator+=(const RoutedCount &other);
  RoutedCount operator*(double factor) const;
};

/// The pairs of queries and keys of a routed attention, of which the counts of
/// a step hold the expected number, that of queries that are spread evenly
/// (CostOpInterface::getPairCost).
struct RoutedPairs {
  /// Among all sub-layers.
  int64_t subLayer = 0;
  /// Floating-point operations per pair in the passes counted.
  double flops = 0;
  std::optional<int64_t> window;
  bool routesKeys = false;
};

/// Passes of a step.
struct PassCost {
  RoutedCount flops;
  /// The part of it that stands for the expected number of pairs.
  RoutedCount meanPairs;
  std::vector<RoutedPairs> pairs;
};

/// Counts of one training step on one batch. Floating-point operations are
/// those of CostOpInterface: a multiply-add is two.
struct StepCost {
  /// Trained numbers, in all and per optimizer group.
  int64_t parameters = 0;
  std::map<std::string, int64_t> groupParameters;
  /// Tokens of a batch.
  int64_t tokens = 0;
  int64_t forwardFlops = 0;
  /// Including what the backward pass computes again.
  int64_t backwardFlops = 0;
  /// Clipping, AdamW, constraints.
  int64_t optimizerFlops = 0;
  /// Bytes computed by the forward pass and still needed when the loss is
  /// known: what is saved for the backward pass.
  int64_t activationBytes = 0;

  /// What is executed: the FLOPs of the passes as above, the trained numbers
  /// that a token meets in the forward pass, and the bytes of keys and values
  /// per token.
  RoutedCount forward, backward, parametersPerToken, kvBytesPerToken;
  /// The forward pass; both passes.
  PassCost evaluation, training;
  /// The share of tokens that skip as the configuration has it, where that is
  /// decided at run time; else 0.
  double expectedSkips = 0;

  /// Executed when the shares are as expected.
  double executedFlops() const {
    return forward.at(expectedSkips, expectedSkips) +
           backward.at(expectedSkips, expectedSkips) + double(optimizerFlops);
  }
  int64_t totalFlops() const {
    return forwardFlops + backwardFlops + optimizerFlops;
  }
};

/// Counts a module that nag-training-pipeline has been through: @loss,
/// @gradients and @apply, with repeated layers counted as often as they run.
/// Fails on ops that compute floats at an unknown cost.
llvm::Expected<StepCost> measureStep(mlir::ModuleOp module);

llvm::json::Object toJSON(const StepCost &cost);

/// Prints a table for people.
void print(const StepCost &cost, llvm::raw_ostream &os);

} // namespace nag::model

#endif // NAG_MODEL_COST_H
