// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
// Random numbers without state: Philox4x32-10 (Salmon, Moraes, Dror, Shaw,
// "Parallel random numbers: as easy as 1, 2, 3", SC 2011). A number is a
// function of a key and a counter, so that any thread can draw the n-th number
// of a stream, and a resumed run needs no more than the position.
#ifndef NAG_RUNTIME_RANDOM_H
#define NAG_RUNTIME_RANDOM_H

#include "llvm/ADT/StringRef.h"
#include <array>
#include <cstdint>

namespace nag::runtime {

/// Ten rounds of Philox4x32.
std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                   std::array<uint32_t, 2> key);

/// An independent sequence for every (seed, purpose, name): the seed is the
/// key, a hash of purpose and name the upper half of the counter.
class RandomStream {
public:
  RandomStream(uint64_t seed, llvm::StringRef purpose,
               llvm::StringRef name = "");

  /// Block `index` of the sequence: 128 random bits.
  std::array<uint32_t, 4> block(uint64_t index) const;
  /// Number `index`: 64 random bits.
  uint64_t bits(uint64_t index) const;
  /// Uniform in [0, 1), 53 bits.
  double uniform(uint64_t index) const;
  /// Standard normal, by Box and Muller.
  double normal(uint64_t index) const;
  /// Uniform in [0, bound), without bias worth mention (bound < 2^32: < 2^-32).
  uint64_t below(uint64_t index, uint64_t bound) const;

private:
  std::array<uint32_t, 2> key;
  uint64_t stream;
};

} // namespace nag::runtime

#endif // NAG_RUNTIME_RANDOM_H
