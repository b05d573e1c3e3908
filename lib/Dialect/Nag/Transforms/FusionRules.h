// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Which groups of a kernel graph may run as one kernel, and why others may not.
#ifndef NAG_LIB_TRANSFORMS_FUSIONRULES_H
#define NAG_LIB_TRANSFORMS_FUSIONRULES_H

#include "FusionPlan.h"

namespace nag {

/// The rows that several products may share: a tensor, or the rows of it that
/// indices name.
std::pair<mlir::Value, mlir::Value> getSharedRows(const KernelGraph &graph,
                                                  mlir::Operation *product);

/// What is asked of groups of `graph`, by their numbers, as it is at the time:
/// merging changes the answers.
class FusionRules {
public:
  FusionRules(const KernelGraph &kernelGraph,
              const FusionOptions &fusionOptions)
      : graph(kernelGraph), options(fusionOptions) {}

  bool hasProducts(unsigned id) const {
    return !graph.getGroup(id).products.empty();
  }

  /// True for products that sum over rows, such as gradients of weights.
  bool sumsOverRows(unsigned id) const;
  /// True when products of both, of factors of one type, have one in common.
  bool multiplyOneTensor(unsigned a, unsigned b) const;

  /// Why two groups cannot be one kernel, in which rows go from op to op; empty
  /// if they can.
  mlir::StringRef getObstacle(unsigned a, unsigned b) const;
  /// Why two row-wise groups cannot run beside one another in a kernel; empty
  /// if they can.
  mlir::StringRef getIndependentObstacle(unsigned a, unsigned b) const;

  /// True when one holds products and the sum of their results with another's,
  /// perhaps widened.
  bool bothSummed(unsigned a, unsigned b) const;
  /// True when products of `reader`, all of whose rows count, are added to what
  /// those of `writer` put, and the two have nothing else to do with one
  /// another.
  bool addsToPut(unsigned reader, unsigned writer) const;
  /// True when both hold a row-wise op of the same name.
  bool haveOpInCommon(unsigned a, unsigned b) const;
  /// True when `a` reads nothing and `b` nothing that a kernel makes.
  bool isTableAtStart(unsigned a, unsigned b) const;

private:
  mlir::StringRef getProductObstacle(unsigned a, unsigned b) const;
  mlir::StringRef getEpilogueObstacle(const KernelGroup &group) const;
  bool awaitsOtherSum(const KernelGroup &terms, const KernelGroup &adder) const;
  bool isHeld(int64_t span, int64_t columns) const;

  const KernelGraph &graph;
  const FusionOptions &options;
};

} // namespace nag

#endif // NAG_LIB_TRANSFORMS_FUSIONRULES_H
