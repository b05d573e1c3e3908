// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/CachedGenerator.h"
#include "nag/Runtime/Elements.h"
#include "nag/Runtime/Errors.h"
#include "nag/Runtime/Routing.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/Sequence.h"
#include <algorithm>
#include <cmath>

using namespace nag::runtime;

//===- Setting up ---------------------------------------------------------===//

llvm::Expected<std::unique_ptr<CachedGenerator>>
CachedGenerator::create(Program &program, const ParameterBuffers &weights) {
  std::unique_ptr<CachedGenerator> result(new CachedGenerator(program));
  if (llvm::Error failure = result->setUp(program, weights))
    return failure;
  return result;
}

llvm::Error CachedGenerator::setUp(Program &program,
                                   const ParameterBuffers &weights) {
  struct {
    const char *name;
    NamedBuffers &buffers;
    BoundFunction &call;
  } functions[] = {{"prefill", prefillBuffers, prefillCall},
                   {"decode", decodeBuffers, decodeCall}};
  for (auto &[name, buffers, call] : functions) {
    auto bound = BoundFunction::bind(program, name, {{"", &weights}}, buffers);
    if (!bound)
      return bound.takeError();
    call = std::move(*bound);
    if (llvm::Error failure = buffers.writeScalar("gate_scale", 1))
      return failure;
  }
  if (llvm::Error failure = roundParameters(program, weights, prefillBuffers))
    return failure;
  return readShapes(program);
}

llvm::Error CachedGenerator::readShapes(const Program &program) {
  llvm::Expected<std::unique_ptr<KeyValueCache>> created =
      KeyValueCache::create(prefillBuffers, decodeBuffers);
  if (!created)
    return created.takeError();
  cache = std::move(*created);
  batch = prefillBuffers.lookup("tokens")->shape[0];
  prompt = prefillBuffers.lookup("tokens")->shape[1];
  hasTable = decodeBuffers.lookup("rotary:cos") != nullptr;
  if (llvm::Error failure =
          expectShapes({{prefillBuffers, "logits", {batch, prompt, -1}},
                        {decodeBuffers, "tokens", {1, batch}},
                        {decodeBuffers, "positions", {1, batch}},
                        {decodeBuffers, "logits", {1, batch, -1}}}))
    return failure;
  capacity = hasTable ? decodeBuffers.lookup("rotary:cos")->shape[0]
                      : cache->getCapacity();
  int64_t columns = decodeBuffers.lookup("logits")->shape[2];
  vocabulary = std::clamp<int64_t>(
      program.config().getInteger("vocab").value_or(columns), 1, columns);
  positions.assign(batch, 0);
  logits.assign(batch, std::vector<double>(vocabulary));
  return llvm::Error::success();
}

llvm::Error CachedGenerator::setUpRouting(Program &program,
                                          llvm::StringRef checkpoint) {
  for (NamedBuffers *buffers : {&prefillBuffers, &decodeBuffers}) {
    llvm::Expected<Routing> routing = Routing::createCausal(program, *buffers);
    if (!routing)
      return routing.takeError();
    if (llvm::Error failure = loadThresholds(*routing, checkpoint))
      return failure;
  }
  return llvm::Error::success();
}

llvm::Error CachedGenerator::setThresholds(Program &program,
                                           llvm::ArrayRef<double> thresholds) {
  for (NamedBuffers *buffers : {&prefillBuffers, &decodeBuffers}) {
    llvm::Expected<Routing> routing = Routing::createCausal(program, *buffers);
    if (!routing)
      return routing.takeError();
    const TensorInfo *info = buffers->lookup("thresholds");
    size_t expected = info ? info->shape[0] : 0;
    if (thresholds.size() != expected)
      return makeError("thresholds: expected {0}, one per sub-layer of a "
                       "routed model, but got {1}",
                       expected, thresholds.size());
    if (llvm::any_of(thresholds, [](double x) { return std::isnan(x); }))
      return makeError("thresholds: expected numbers, but got NaN");
    if (llvm::Error failure = routing->setThresholds(thresholds))
      return failure;
  }
  return llvm::Error::success();
}

//===- Steps --------------------------------------------------------------===//

llvm::Error CachedGenerator::readLogits(const NamedBuffers &buffers,
                                        size_t sequence, int64_t row) {
  const TensorInfo &info = *buffers.lookup("logits");
  size_t bytes = info.shape[2] * nag::runtime::getByteSize(info.dtype);
  staging.resize(bytes);
  if (llvm::Error failure =
          buffers.readPart("logits", row * bytes, bytes, staging.data()))
    return failure;
  for (int64_t i = 0; i < vocabulary; ++i)
    logits[sequence][i] = readElement(info.dtype, staging.data(), i);
  return llvm::Error::success();
}

llvm::Error
CachedGenerator::start(llvm::ArrayRef<llvm::ArrayRef<int32_t>> prefixes) {
  if (int64_t(prefixes.size()) > batch)
    return makeError("sequences: expected at most {0}, the program's batch, "
                     "but got {1}",
                     batch, prefixes.size());
  for (auto [b, prefix] : llvm::enumerate(prefixes))
    for (int32_t token : prefix)
      if (llvm::Error failure = checkToken(b, token))
        return failure;
  isStarted = true;
  std::vector<int32_t> tokens(batch * prompt, 0);
  positions.assign(batch, 0);
  for (auto [b, prefix] : llvm::enumerate(prefixes)) {
    positions[b] = std::min<int64_t>(prefix.size(), prompt);
    std::copy_n(prefix.begin(), positions[b], tokens.begin() + b * prompt);
  }
  if (llvm::Error failure = prefillBuffers.write("tokens", tokens.data()))
    return failure;
  if (llvm::Error failure = prefillCall.call())
    return failure;
  if (llvm::Error failure = cache->start(positions))
    return failure;
  for (llvm::StringRef name : {"rotary:cos", "rotary:sin"}) {
    if (!hasTable)
      break;
    std::vector<char> table(prefillBuffers.lookup(name)->getByteSize());
    if (llvm::Error failure = prefillBuffers.read(name, table.data()))
      return failure;
    if (llvm::Error failure = decodeBuffers.write(name, table.data()))
      return failure;
  }
  for (int64_t b = 0; b < batch; ++b)
    if (positions[b] > 0)
      if (llvm::Error failure =
              readLogits(prefillBuffers, b, b * prompt + positions[b] - 1))
        return failure;
  return llvm::Error::success();
}

/// The program would read memory that is not its own.
llvm::Error CachedGenerator::checkToken(size_t sequence, int32_t token) const {
  if (token >= 0 && token < vocabulary)
    return llvm::Error::success();
  return makeError("sequence {0}: expected a token below the vocabulary of "
                   "{1}, but got {2}",
                   sequence, vocabulary, token);
}

llvm::Error CachedGenerator::append(llvm::ArrayRef<int32_t> tokens) {
  if (!isStarted)
    return makeError("append: expected start before it, which makes the table "
                     "of positions");
  std::vector<int32_t> ids(batch, 0), places(batch, 0);
  std::vector<int64_t> read(batch, -1);
  for (int64_t b = 0; b < batch; ++b) {
    if (tokens[b] == -1)
      continue;
    if (llvm::Error failure = checkToken(b, tokens[b]))
      return failure;
    if (positions[b] >= capacity)
      return makeError("sequence {0}: expected at most {1} tokens, the "
                       "capacity, but got one more",
                       b, capacity);
    if (cache->isFull(b))
      return makeError("sequence {0}: expected keys and values within the "
                       "budget of {1} bytes for {2} sequences, but its {3} "
                       "tokens have more",
                       b, getCacheUse().allocatedBytes, batch, positions[b]);
    ids[b] = tokens[b];
    places[b] = int32_t(positions[b]);
    read[b] = positions[b];
  }
  if (llvm::Error failure = decodeBuffers.write("tokens", ids.data()))
    return failure;
  if (llvm::Error failure = decodeBuffers.write("positions", places.data()))
    return failure;
  if (llvm::Error failure = decodeCall.call())
    return failure;
  if (llvm::Error failure = cache->append(read))
    return failure;
  for (int64_t b = 0; b < batch; ++b) {
    if (tokens[b] < 0)
      continue;
    ++positions[b];
    if (llvm::Error failure = readLogits(decodeBuffers, b, b))
      return failure;
  }
  return llvm::Error::success();
}

//===- Generating ---------------------------------------------------------===//

llvm::Error
CachedGenerator::checkPrompts(llvm::ArrayRef<Tokens> prompts) const {
  if (prompts.empty() || int64_t(prompts.size()) > batch)
    return makeError("prompts: expected 1 to {0}, the program's batch, but got "
                     "{1}",
                     batch, prompts.size());
  for (auto [b, tokens] : llvm::enumerate(prompts)) {
    if (tokens.empty())
      return makeError("prompt {0}: expected at least one token", b);
    for (auto [position, token] : llvm::enumerate(tokens))
      if (token < 0 || token >= vocabulary)
        return makeError("prompt {0}: position {1}: expected a token below the "
                         "vocabulary of {2}, but got {3}",
                         b, position, vocabulary, token);
  }
  return llvm::Error::success();
}

/// Reads the sequences anew; those that fill the cache lose their beginning.
llvm::Error CachedGenerator::restart() {
  std::vector<llvm::ArrayRef<int32_t>> histories(batch);
  for (auto [b, sequence] : llvm::enumerate(sequences)) {
    if (sequence.isDone)
      continue;
    Tokens &history = sequence.history;
    int64_t kept = std::max<int64_t>(capacity / 2, 1);
    if (int64_t(history.size()) > capacity)
      history.erase(history.begin(), history.end() - kept);
    histories[b] = history;
  }
  return start(histories);
}

llvm::Error CachedGenerator::begin(llvm::ArrayRef<Tokens> prompts,
                                   const GenerateOptions &options) {
  if (llvm::Error failure = options.sampler.check())
    return failure;
  if (llvm::Error failure = checkPrompts(prompts))
    return failure;
  chosen = options;
  sequences.clear();
  for (auto [b, tokens] : llvm::enumerate(prompts)) {
    SamplerOptions sampler = options.sampler;
    sampler.seed += b;
    sequences.push_back({tokens, Sampler(sampler), 0, options.count <= 0});
  }
  return restart();
}

/// Keys and values that find no room take the first half of the tokens away.
bool CachedGenerator::shortenFullSequences() {
  bool isAnyFull = false;
  for (auto [b, sequence] : llvm::enumerate(sequences)) {
    if (sequence.isDone || countUnread(b) == 0 || !cache->isFull(b))
      continue;
    isAnyFull = true;
    int64_t kept = std::max<int64_t>(positions[b] / 2, 1);
    sequence.history.erase(sequence.history.begin(),
                           sequence.history.end() - kept);
  }
  return isAnyFull;
}

/// Reads one waiting token of every sequence.
llvm::Error CachedGenerator::feed() {
  if (shortenFullSequences())
    return restart();
  std::vector<int32_t> tokens(batch, -1);
  for (auto [b, sequence] : llvm::enumerate(sequences)) {
    if (sequence.isDone || countUnread(b) == 0)
      continue;
    if (positions[b] == capacity)
      return restart();
    tokens[b] = sequence.history[positions[b]];
  }
  return append(tokens);
}

llvm::Expected<bool> CachedGenerator::step(const Emit &emit) {
  auto indices = llvm::seq<size_t>(0, sequences.size());
  auto isActive = [&](size_t b) { return !sequences[b].isDone; };
  if (llvm::none_of(indices, isActive))
    return false;
  auto isReady = [&](size_t b) { return isActive(b) && countUnread(b) == 0; };
  while (llvm::none_of(indices, isReady))
    if (llvm::Error failure = feed())
      return failure;
  for (size_t b : indices) {
    if (!isReady(b))
      continue;
    Sequence &sequence = sequences[b];
    auto token = sequence.sampler.sample(logits[b], sequence.drawn++);
    if (!token)
      return token.takeError();
    sequence.history.push_back(*token);
    bool goesOn = emit(b, *token);
    sequence.isDone =
        !goesOn || *token == chosen.stopToken || sequence.drawn == chosen.count;
  }
  return true;
}

llvm::Error CachedGenerator::generate(llvm::ArrayRef<Tokens> prompts,
                                      const GenerateOptions &options,
                                      const Emit &emit) {
  if (llvm::Error failure = begin(prompts, options))
    return failure;
  while (true) {
    llvm::Expected<bool> goesOn = step(emit);
    if (!goesOn)
      return goesOn.takeError();
    if (!*goesOn)
      return llvm::Error::success();
  }
}
