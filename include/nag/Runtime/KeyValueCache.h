// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// What "prefill" and "decode" (CachedGenerator.h) compute of keys and values,
// put where the next call of "decode" finds it.
#ifndef NAG_RUNTIME_KEYVALUECACHE_H
#define NAG_RUNTIME_KEYVALUECACHE_H

#include "nag/Runtime/Binding.h"
#include <memory>

namespace nag::runtime {

/// A shape that an argument must have; negative sizes stand for any.
struct ExpectedShape {
  const NamedBuffers &buffers;
  const char *name;
  std::vector<int64_t> shape;
};

/// Fails, naming the first argument that is missing or has another shape.
llvm::Error expectShapes(llvm::ArrayRef<ExpectedShape> expected);

/// Keys and values of sequences, counted.
struct CacheUse {
  /// Tokens whose keys and values may be held: those that were read.
  int64_t tokens = 0;
  /// Bytes of the keys and values held now; of those that there is room for.
  int64_t heldBytes = 0, allocatedBytes = 0;

  double getBytesPerToken() const {
    return tokens ? double(heldBytes) / double(tokens) : 0;
  }
};

class KeyValueCache {
public:
  /// Both buffers must outlive it. Fails on shapes that do not fit together,
  /// naming the argument.
  static llvm::Expected<std::unique_ptr<KeyValueCache>>
  create(NamedBuffers &prefill, NamedBuffers &decode);
  virtual ~KeyValueCache() = default;

  /// Forgets what was before and takes what "prefill" computed of the first
  /// `counts[b]` tokens of every sequence.
  virtual llvm::Error start(llvm::ArrayRef<int64_t> counts) = 0;
  /// Takes what "decode" computed of one token of every sequence, whose
  /// position is `positions[b]`; negative: none.
  virtual llvm::Error append(llvm::ArrayRef<int64_t> positions) = 0;
  /// True when keys or values of the sequence found no room.
  virtual bool isFull(int64_t sequence) const = 0;
  /// `counts[b]` tokens of every sequence were read.
  virtual CacheUse measure(llvm::ArrayRef<int64_t> counts) const = 0;

  int64_t getLayers() const { return layers; }
  /// Positions of a layer at most.
  int64_t getCapacity() const { return capacity; }

  KeyValueCache(NamedBuffers &prefill, NamedBuffers &decode)
      : prefillBuffers(prefill), decodeBuffers(decode) {}

protected:
  NamedBuffers &prefillBuffers, &decodeBuffers;
  int64_t layers = 0, batch = 0, prompt = 0, capacity = 0;
  /// Bytes of one token's keys in one layer, or of its values.
  int64_t keyBytes = 0;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_KEYVALUECACHE_H
