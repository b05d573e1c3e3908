// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// The loss of a program's weights on the validation part of a dataset.
#ifndef NAG_RUNTIME_EVALUATOR_H
#define NAG_RUNTIME_EVALUATOR_H

#include "nag/Runtime/Binding.h"
#include "nag/Runtime/Dataset.h"
#include "nag/Runtime/Metrics.h"
#include <functional>

namespace nag::runtime {

struct EvaluatorOptions {
  /// At most this many batches, evenly spread over the data; 0: all of them.
  int64_t maxBatches = 0;
  /// The factor of alpha; 1 after the warm-up.
  double gateScale = 1;
  /// Called after each batch, whose results are still in the buffers.
  std::function<llvm::Error()> afterBatch = nullptr;
};

/// Calls "loss", without an auxiliary loss. `weights` and `buffers` must
/// outlive it. Of a program that keeps copies of weights, these must have been
/// made (roundParameters).
class Evaluator {
public:
  static llvm::Expected<Evaluator> create(Program &program,
                                          const ParameterBuffers &weights,
                                          NamedBuffers &buffers);

  /// Fails on a loss that is not finite.
  llvm::Expected<Evaluation> run(const Dataset &dataset,
                                 const EvaluatorOptions &options) const;

private:
  llvm::Expected<double> evaluateBatch(llvm::ArrayRef<int32_t> tokens,
                                       llvm::ArrayRef<int32_t> targets) const;

  NamedBuffers *buffers = nullptr;
  BoundFunction evaluate;
  BatchShape shape;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_EVALUATOR_H
