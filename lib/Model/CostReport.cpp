// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Costs as JSON and as a table.
#include "nag/Model/Cost.h"

#include "llvm/Support/Format.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir;
using namespace nag;
using namespace nag::model;

llvm::json::Object nag::model::toJSON(const StepCost &cost) {
  llvm::json::Object groups;
  for (const auto &[group, count] : cost.groupParameters)
    groups[group] = count;
  auto perToken = [&](int64_t flops) {
    return static_cast<double>(flops) / cost.tokens;
  };
  return llvm::json::Object{
      {"parameters", cost.parameters},
      {"parameters_by_group", std::move(groups)},
      {"tokens_per_step", cost.tokens},
      {"flops_per_step", llvm::json::Object{{"forward", cost.forwardFlops},
                                            {"backward", cost.backwardFlops},
                                            {"optimizer", cost.optimizerFlops},
                                            {"total", cost.totalFlops()}}},
      {"flops_per_token",
       llvm::json::Object{{"forward", perToken(cost.forwardFlops)},
                          {"backward", perToken(cost.backwardFlops)},
                          {"optimizer", perToken(cost.optimizerFlops)},
                          {"total", perToken(cost.totalFlops())}}},
      {"activation_bytes", cost.activationBytes},
      {"executed",
       llvm::json::Object{
           {"skips", cost.expectedSkips},
           {"routed_flops", cost.forward.all() - cost.forward.fixed +
                                cost.backward.all() - cost.backward.fixed},
           {"routed_attention_flops", cost.training.flops.attention},
           {"routed_mlp_flops", cost.training.flops.mlp},
           {"routed_pair_flops", cost.training.flops.pairs},
           {"mean_pair_flops", cost.training.meanPairs.all()},
           {"flops_per_step", cost.executedFlops()},
           {"flops_per_token", cost.executedFlops() / double(cost.tokens)},
           {"parameters_per_token",
            cost.parametersPerToken.at(cost.expectedSkips, cost.expectedSkips)},
           {"kv_bytes_per_token",
            cost.kvBytesPerToken.at(cost.expectedSkips, cost.expectedSkips)}}}};
}

void nag::model::print(const StepCost &cost, raw_ostream &os) {
  auto row = [&](const char *name, int64_t flops) {
    os << llvm::format("%-12s %20lld %20.1f\n", name,
                       static_cast<long long>(flops),
                       static_cast<double>(flops) / cost.tokens);
  };
  os << "parameters   "
     << llvm::format("%20lld", static_cast<long long>(cost.parameters));
  const char *separator = "  (";
  for (const auto &[group, count] : cost.groupParameters) {
    os << separator << group << ' ' << count;
    separator = ", ";
  }
  os << ")\n";
  os << llvm::format("%-12s %20lld\n", "tokens",
                     static_cast<long long>(cost.tokens));
  os << llvm::format("%-12s %20lld bytes saved for the backward pass\n",
                     "activations",
                     static_cast<long long>(cost.activationBytes));
  os << llvm::format("%-12s %20s %20s\n", "FLOPs", "per step", "per token");
  row("forward", cost.forwardFlops);
  row("backward", cost.backwardFlops);
  row("optimizer", cost.optimizerFlops);
  row("total", cost.totalFlops());
  double skips = cost.expectedSkips;
  if (skips > 0) {
    row("executed", int64_t(cost.executedFlops()));
    os << llvm::format("%-12s %20.4f of the tokens skip the routed sub-layers, "
                       "as expected\n",
                       "skips", skips);
  }
  os << llvm::format("%-12s %20.1f parameters met per token\n", "executed",
                     cost.parametersPerToken.at(skips, skips));
  os << llvm::format("%-12s %20.1f bytes of keys and values per token\n",
                     "cache", cost.kvBytesPerToken.at(skips, skips));
}
