// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Generator.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Routing.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>
#include <cmath>
#include <numeric>

using namespace nag::runtime;

//===- Sampling -----------------------------------------------------------===//

llvm::Error SamplerOptions::check() const {
  if (!(temperature >= 0) || std::isinf(temperature))
    return makeError("temperature: expected a finite value of at least 0, but "
                     "got {0}",
                     formatNumber(temperature));
  if (topK < 0)
    return makeError("top-k: expected at least 0, but got {0}", topK);
  if (!(topP > 0 && topP <= 1))
    return makeError("top-p: expected a number in (0, 1], but got {0}",
                     formatNumber(topP));
  return llvm::Error::success();
}

/// Tokens by falling logit, equal ones by index, values that are no numbers
/// last; only the first `count` places are in order.
static std::vector<int32_t> rankTokens(llvm::ArrayRef<double> logits,
                                       size_t count) {
  std::vector<int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  auto key = [&](int32_t token) {
    return std::isfinite(logits[token]) ? logits[token] : -INFINITY;
  };
  auto before = [&](int32_t a, int32_t b) {
    return key(a) != key(b) ? key(a) > key(b) : a < b;
  };
  std::partial_sort(order.begin(), order.begin() + count, order.end(), before);
  order.resize(count);
  return order;
}

llvm::Expected<int32_t> Sampler::sample(llvm::ArrayRef<double> logits,
                                        int64_t index) const {
  size_t count = options.temperature == 0 ? 1
                 : options.topK == 0
                     ? logits.size()
                     : std::min<size_t>(options.topK, logits.size());
  std::vector<int32_t> order = rankTokens(logits, count);
  double largest = logits[order.front()];
  if (!std::isfinite(largest))
    return makeError("token {0}: expected a finite logit, but got {1} and no "
                     "other",
                     index, formatNumber(largest));
  if (count == 1)
    return order.front();
  std::vector<double> cumulative;
  double sum = 0;
  for (int32_t token : order) {
    double scaled = (logits[token] - largest) / options.temperature;
    sum += std::isfinite(scaled) ? std::exp(scaled) : 0;
    cumulative.push_back(sum);
  }
  if (options.topP < 1) {
    size_t last =
        llvm::lower_bound(cumulative, options.topP * sum) - cumulative.begin();
    count = std::min(last + 1, count);
    sum = cumulative[count - 1];
  }
  double drawn = random.uniform(index) * sum;
  size_t place = llvm::upper_bound(cumulative, drawn) - cumulative.begin();
  return order[std::min(place, count - 1)];
}

//===- Generating ---------------------------------------------------------===//

llvm::Expected<std::unique_ptr<Generator>>
Generator::create(Program &program, const ParameterBuffers &weights) {
  std::unique_ptr<Generator> result(new Generator(program));
  auto bound =
      BoundFunction::bind(program, "logits", {{"", &weights}}, result->buffers);
  if (!bound)
    return bound.takeError();
  result->logitsCall = std::move(*bound);
  if (llvm::Error failure = roundParameters(program, weights, result->buffers))
    return failure;
  llvm::Expected<BatchShape> shape = getBatchShape(result->buffers);
  if (!shape)
    return shape.takeError();
  result->shape = *shape;
  if (llvm::Error failure = result->findVocabulary(program))
    return failure;
  if (llvm::Error failure = result->buffers.writeScalar("gate_scale", 1))
    return failure;
  return result;
}

llvm::Error Generator::setUpRouting(Program &program,
                                    llvm::StringRef checkpoint) {
  llvm::Expected<Routing> routing = Routing::createCausal(program, buffers);
  if (!routing)
    return routing.takeError();
  return loadThresholds(*routing, checkpoint);
}

llvm::Error Generator::findVocabulary(const Program &program) {
  const TensorInfo *info = buffers.lookup("logits");
  if (!info || info->shape.size() != 3 || !isFloat(info->dtype) ||
      info->shape[0] != shape.batch || info->shape[1] != shape.seq ||
      info->shape[2] < 1)
    return makeError("argument 'logits': expected floats [{0}, {1}, vocab]",
                     shape.batch, shape.seq);
  int64_t columns = info->shape[2];
  vocabulary = program.config().getInteger("vocab").value_or(columns);
  vocabulary = std::clamp<int64_t>(vocabulary, 1, columns);
  return llvm::Error::success();
}

llvm::Error Generator::checkPrompt(llvm::ArrayRef<int32_t> prompt) const {
  if (prompt.empty())
    return makeError("prompt: expected at least one token");
  for (auto [position, token] : llvm::enumerate(prompt))
    if (token < 0 || token >= vocabulary)
      return makeError("prompt: position {0}: expected a token below the "
                       "vocabulary of {1}, but got {2}",
                       position, vocabulary, token);
  return llvm::Error::success();
}

/// Leaves the logits that follow `history`, whose last T tokens count.
llvm::Error Generator::computeLogits(llvm::ArrayRef<int32_t> history) {
  std::vector<int32_t> tokens(shape.getTokens(), 0);
  llvm::ArrayRef<int32_t> window =
      history.take_back(std::min<size_t>(history.size(), shape.seq));
  llvm::copy(window, tokens.begin());
  if (llvm::Error failure = buffers.write("tokens", tokens.data()))
    return failure;
  if (llvm::Error failure = logitsCall.call())
    return failure;
  const TensorInfo &info = *buffers.lookup("logits");
  size_t rowBytes = info.shape[2] * getByteSize(info.dtype);
  std::vector<char> row(rowBytes);
  if (llvm::Error failure = buffers.readPart(
          "logits", (window.size() - 1) * rowBytes, rowBytes, row.data()))
    return failure;
  logits.resize(vocabulary);
  for (int64_t i = 0; i < vocabulary; ++i)
    logits[i] = readElement(info.dtype, row.data(), i);
  return llvm::Error::success();
}

llvm::Error Generator::generate(llvm::ArrayRef<int32_t> prompt, int64_t count,
                                const SamplerOptions &options,
                                const std::function<bool(int32_t)> &emit) {
  if (llvm::Error failure = options.check())
    return failure;
  if (llvm::Error failure = checkPrompt(prompt))
    return failure;
  Sampler sampler(options);
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  for (int64_t i = 0; i < count; ++i) {
    if (llvm::Error failure = computeLogits(history))
      return failure;
    llvm::Expected<int32_t> token = sampler.sample(logits, i);
    if (!token)
      return token.takeError();
    history.push_back(*token);
    if (!emit(*token))
      break;
  }
  return llvm::Error::success();
}
