// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/KeyValueCache.h"
#include "nag/Runtime/CacheRows.h"
#include "nag/Runtime/Errors.h"
#include <algorithm>

using namespace nag::runtime;

namespace {
/// Keys and values of all tokens: of every layer and sequence a ring.
class RingCache : public KeyValueCache {
public:
  using KeyValueCache::KeyValueCache;
  llvm::Error setUp();

  llvm::Error start(llvm::ArrayRef<int64_t> counts) override;
  llvm::Error append(llvm::ArrayRef<int64_t> positions) override;
  bool isFull(int64_t) const override { return false; }
  CacheUse measure(llvm::ArrayRef<int64_t> counts) const override;
};

/// Keys and values of executed tokens, in rows that layers share.
class SharedCache : public KeyValueCache {
public:
  using KeyValueCache::KeyValueCache;
  llvm::Error setUp();

  llvm::Error start(llvm::ArrayRef<int64_t> counts) override;
  llvm::Error append(llvm::ArrayRef<int64_t> positions) override;
  bool isFull(int64_t sequence) const override { return full[sequence]; }
  CacheUse measure(llvm::ArrayRef<int64_t> counts) const override;

private:
  /// A row of what a function computed that goes into the cache.
  struct Copy {
    int64_t from, sequence, to;
  };
  void take(int64_t layer, int64_t sequence, int64_t position, int64_t from);
  llvm::Error copyRows(const NamedBuffers &source, llvm::StringRef prefix);
  llvm::Error writeCounts();

  std::unique_ptr<CacheRows> rows;
  std::vector<char> full;
  std::vector<Copy> copies;
};
} // namespace

llvm::Error nag::runtime::expectShapes(llvm::ArrayRef<ExpectedShape> expected) {
  for (const auto &[buffers, name, shape] : expected) {
    const TensorInfo *info = buffers.lookup(name);
    bool fits = info && info->shape.size() == shape.size();
    for (size_t i = 0; fits && i < shape.size(); ++i)
      fits = shape[i] < 0 || shape[i] == info->shape[i];
    if (!fits)
      return makeError("argument '{0}': expected the shape that prefill and "
                       "decode agree on, but got {1}",
                       name,
                       info ? formatType(info->dtype, info->shape) : "nothing");
  }
  return llvm::Error::success();
}

static llvm::Expected<std::vector<char>> readAll(const NamedBuffers &buffers,
                                                 llvm::StringRef name) {
  std::vector<char> bytes(buffers.lookup(name)->getByteSize());
  if (llvm::Error failure = buffers.read(name, bytes.data()))
    return failure;
  return bytes;
}

template <typename Cache>
static llvm::Expected<std::unique_ptr<KeyValueCache>>
createCache(NamedBuffers &prefill, NamedBuffers &decode) {
  auto cache = std::make_unique<Cache>(prefill, decode);
  if (llvm::Error failure = cache->setUp())
    return failure;
  return cache;
}

llvm::Expected<std::unique_ptr<KeyValueCache>>
KeyValueCache::create(NamedBuffers &prefill, NamedBuffers &decode) {
  return decode.lookup("cache:rows") ? createCache<SharedCache>(prefill, decode)
                                     : createCache<RingCache>(prefill, decode);
}

//===- Rings --------------------------------------------------------------===//

llvm::Error RingCache::setUp() {
  if (llvm::Error failure =
          expectShapes({{prefillBuffers, "tokens", {-1, -1}},
                        {decodeBuffers, "cache:keys", {-1, -1, -1, -1}}}))
    return failure;
  batch = prefillBuffers.lookup("tokens")->shape[0];
  prompt = prefillBuffers.lookup("tokens")->shape[1];
  const TensorInfo &keys = *decodeBuffers.lookup("cache:keys");
  layers = keys.shape[0];
  capacity = keys.shape[2];
  int64_t width = keys.shape[3];
  keyBytes = width * int64_t(getByteSize(keys.dtype));
  return expectShapes(
      {{decodeBuffers, "cache:keys", {layers, batch, capacity, width}},
       {decodeBuffers, "cache:values", {layers, batch, capacity, width}},
       {decodeBuffers, "new:keys", {layers, 1, batch, width}},
       {decodeBuffers, "new:values", {layers, 1, batch, width}},
       {prefillBuffers, "prompt:keys", {layers, batch, prompt, width}},
       {prefillBuffers, "prompt:values", {layers, batch, prompt, width}}});
}

llvm::Error RingCache::start(llvm::ArrayRef<int64_t> counts) {
  for (llvm::StringRef part : {"keys", "values"}) {
    auto computed = readAll(prefillBuffers, ("prompt:" + part).str());
    if (!computed)
      return computed.takeError();
    for (int64_t stack = 0; stack < layers * batch; ++stack) {
      int64_t count = counts[stack % batch];
      for (int64_t at = std::max<int64_t>(0, count - capacity); at < count;
           ++at)
        if (llvm::Error failure = decodeBuffers.writePart(
                ("cache:" + part).str(),
                (stack * capacity + at % capacity) * keyBytes, keyBytes,
                computed->data() + (stack * prompt + at) * keyBytes))
          return failure;
    }
  }
  return llvm::Error::success();
}

llvm::Error RingCache::append(llvm::ArrayRef<int64_t> positions) {
  for (llvm::StringRef part : {"keys", "values"}) {
    auto computed = readAll(decodeBuffers, ("new:" + part).str());
    if (!computed)
      return computed.takeError();
    for (int64_t stack = 0; stack < layers * batch; ++stack) {
      int64_t position = positions[stack % batch];
      if (position < 0)
        continue;
      if (llvm::Error failure = decodeBuffers.writePart(
              ("cache:" + part).str(),
              (stack * capacity + position % capacity) * keyBytes, keyBytes,
              computed->data() + stack * keyBytes))
        return failure;
    }
  }
  return llvm::Error::success();
}

CacheUse RingCache::measure(llvm::ArrayRef<int64_t> counts) const {
  CacheUse use;
  use.allocatedBytes = 2 * keyBytes * layers * batch * capacity;
  for (int64_t count : counts) {
    use.tokens += count;
    use.heldBytes += 2 * keyBytes * layers * std::min(count, capacity);
  }
  return use;
}

//===- Shared rows --------------------------------------------------------===//

llvm::Error SharedCache::setUp() {
  if (llvm::Error failure =
          expectShapes({{prefillBuffers, "tokens", {-1, -1}},
                        {prefillBuffers, "reach", {-1}},
                        {decodeBuffers, "cache:keys", {-1, -1, -1}},
                        {decodeBuffers, "cache:rows", {-1, -1, -1}}}))
    return failure;
  batch = prefillBuffers.lookup("tokens")->shape[0];
  prompt = prefillBuffers.lookup("tokens")->shape[1];
  const TensorInfo &keys = *decodeBuffers.lookup("cache:keys");
  int64_t budget = keys.shape[1], width = keys.shape[2];
  layers = decodeBuffers.lookup("cache:rows")->shape[0];
  capacity = decodeBuffers.lookup("cache:rows")->shape[2];
  keyBytes = width * int64_t(getByteSize(keys.dtype));
  full.assign(batch, false);
  return expectShapes(
      {{decodeBuffers, "cache:keys", {batch, budget, width}},
       {decodeBuffers, "cache:values", {batch, budget, width}},
       {decodeBuffers, "cache:rows", {layers, batch, capacity}},
       {decodeBuffers, "cache:counts", {layers, 1, batch}},
       {decodeBuffers, "new:keys", {layers, batch, width}},
       {decodeBuffers, "new:values", {layers, batch, width}},
       {decodeBuffers, "new:tokens", {layers, batch}},
       {prefillBuffers, "reach", {layers}},
       {prefillBuffers, "prompt:keys", {layers, batch * prompt, width}},
       {prefillBuffers, "prompt:values", {layers, batch * prompt, width}},
       {prefillBuffers, "prompt:tokens", {layers, batch * prompt}}});
}

/// Row `from` of what was computed is that of this position.
void SharedCache::take(int64_t layer, int64_t sequence, int64_t position,
                       int64_t from) {
  if (rows->getReach(layer) == 0)
    return;
  if (auto row = rows->take(layer, sequence, position))
    copies.push_back({from, sequence, *row});
  else
    full[sequence] = true;
}

llvm::Error SharedCache::copyRows(const NamedBuffers &source,
                                  llvm::StringRef prefix) {
  for (llvm::StringRef part : {"keys", "values"}) {
    auto computed = readAll(source, (prefix + part).str());
    if (!computed)
      return computed.takeError();
    for (const Copy &copy : copies)
      if (llvm::Error failure = decodeBuffers.writePart(
              ("cache:" + part).str(),
              (copy.sequence * rows->getBudget() + copy.to) * keyBytes,
              keyBytes, computed->data() + copy.from * keyBytes))
        return failure;
  }
  copies.clear();
  return writeCounts();
}

llvm::Error SharedCache::writeCounts() {
  for (size_t element : rows->takeChanges())
    if (llvm::Error failure = decodeBuffers.writePart(
            "cache:rows", element * sizeof(int32_t), sizeof(int32_t),
            &rows->getTable()[element]))
      return failure;
  return decodeBuffers.write("cache:counts", rows->getCounts().data());
}

llvm::Error SharedCache::start(llvm::ArrayRef<int64_t> counts) {
  std::vector<int32_t> reach(layers), tokens(layers * batch * prompt);
  if (llvm::Error failure = prefillBuffers.read("reach", reach.data()))
    return failure;
  if (llvm::Error failure = prefillBuffers.read("prompt:tokens", tokens.data()))
    return failure;
  if (!rows)
    rows = std::make_unique<CacheRows>(
        batch, decodeBuffers.lookup("cache:keys")->shape[1],
        std::vector<int64_t>(reach.begin(), reach.end()), capacity);
  for (int64_t sequence = 0; sequence < batch; ++sequence)
    rows->clear(sequence);
  full.assign(batch, false);
  for (int64_t from = 0; from < int64_t(tokens.size()); ++from) {
    int64_t layer = from / (batch * prompt), token = tokens[from];
    if (token < 0)
      continue;
    int64_t sequence = token / prompt, position = token % prompt;
    int64_t count = counts[sequence];
    if (position < count && position >= count - reach[layer])
      take(layer, sequence, position, from);
  }
  return copyRows(prefillBuffers, "prompt:");
}

llvm::Error SharedCache::append(llvm::ArrayRef<int64_t> positions) {
  std::vector<int32_t> tokens(layers * batch);
  if (llvm::Error failure = decodeBuffers.read("new:tokens", tokens.data()))
    return failure;
  for (int64_t list = 0; list < layers * batch; ++list)
    if (int64_t position = positions[list % batch]; position >= 0)
      rows->release(list / batch, list % batch, position);
  for (int64_t from = 0; from < layers * batch; ++from) {
    int64_t sequence = tokens[from];
    if (sequence >= 0 && positions[sequence] >= 0)
      take(from / batch, sequence, positions[sequence], from);
  }
  return copyRows(decodeBuffers, "new:");
}

CacheUse SharedCache::measure(llvm::ArrayRef<int64_t> counts) const {
  CacheUse use;
  use.allocatedBytes =
      2 * int64_t(decodeBuffers.lookup("cache:keys")->getByteSize());
  for (int64_t sequence = 0; sequence < batch; ++sequence) {
    use.tokens += counts[sequence];
    if (rows)
      use.heldBytes += 2 * keyBytes * rows->countTaken(sequence);
  }
  return use;
}
