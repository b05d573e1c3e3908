// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Evaluator.h"
#include "nag/Runtime/Errors.h"
#include <algorithm>
#include <cmath>

using namespace nag::runtime;

llvm::Expected<Evaluator> Evaluator::create(Program &program,
                                            const ParameterBuffers &weights,
                                            NamedBuffers &buffers) {
  Evaluator result;
  result.buffers = &buffers;
  auto bound = BoundFunction::bind(program, "loss", {{"", &weights}}, buffers);
  if (!bound)
    return bound.takeError();
  result.evaluate = std::move(*bound);
  llvm::Expected<BatchShape> shape = getBatchShape(buffers);
  if (!shape)
    return shape.takeError();
  result.shape = *shape;
  return result;
}

llvm::Expected<double>
Evaluator::evaluateBatch(llvm::ArrayRef<int32_t> tokens,
                         llvm::ArrayRef<int32_t> targets) const {
  if (llvm::Error failure = buffers->write("tokens", tokens.data()))
    return failure;
  if (llvm::Error failure = buffers->write("targets", targets.data()))
    return failure;
  if (llvm::Error failure = evaluate.call())
    return failure;
  return buffers->readScalar("loss");
}

llvm::Expected<Evaluation>
Evaluator::run(const Dataset &dataset, const EvaluatorOptions &options) const {
  auto batches =
      ValidationBatches::create(dataset.validation(), shape.batch, shape.seq);
  if (!batches)
    return batches.takeError();
  if (llvm::Error failure =
          buffers->writeScalar("gate_scale", options.gateScale))
    return failure;
  if (llvm::Error failure = buffers->writeScalar("aux_weight", 0))
    return failure;
  int64_t count = options.maxBatches > 0
                      ? std::min(options.maxBatches, batches->count())
                      : batches->count();
  std::vector<int32_t> tokens(shape.getTokens()), targets(shape.getTokens());
  Evaluation result;
  double sum = 0;
  for (int64_t i = 0; i < count; ++i) {
    int64_t counted = batches->fill(i * batches->count() / count, tokens.data(),
                                    targets.data());
    llvm::Expected<double> loss = evaluateBatch(tokens, targets);
    if (!loss)
      return loss.takeError();
    if (options.afterBatch)
      if (llvm::Error failure = options.afterBatch())
        return failure;
    if (!std::isfinite(*loss))
      return makeError("validation: expected a finite loss, but got {0}",
                       formatNumber(*loss));
    sum += *loss * double(counted);
    result.tokens += counted;
  }
  result.loss = sum / double(result.tokens);
  if (dataset.bytesPerToken() > 0)
    result.bitsPerByte = result.loss / std::log(2.0) / dataset.bytesPerToken();
  return result;
}
