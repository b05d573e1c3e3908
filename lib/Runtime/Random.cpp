// SPDX-License-Identifier: Apache-2.0 WITH LLVM-exception
#include "nag/Runtime/Random.h"
#include <cmath>

using namespace nag::runtime;

std::array<uint32_t, 4>
nag::runtime::philox4x32(std::array<uint32_t, 4> counter,
                         std::array<uint32_t, 2> key) {
  constexpr uint64_t multipliers[] = {0xD2511F53, 0xCD9E8D57};
  constexpr uint32_t increments[] = {0x9E3779B9, 0xBB67AE85};
  for (int round = 0; round < 10; ++round) {
    uint64_t first = multipliers[0] * counter[0];
    uint64_t second = multipliers[1] * counter[2];
    counter = {uint32_t(second >> 32) ^ counter[1] ^ key[0], uint32_t(second),
               uint32_t(first >> 32) ^ counter[3] ^ key[1], uint32_t(first)};
    key = {key[0] + increments[0], key[1] + increments[1]};
  }
  return counter;
}

/// FNV-1a: the same on every machine and in every version of the libraries.
static uint64_t hashText(llvm::StringRef text, uint64_t hash) {
  for (unsigned char c : text)
    hash = (hash ^ c) * 0x100000001B3;
  return hash;
}

RandomStream::RandomStream(uint64_t seed, llvm::StringRef purpose,
                           llvm::StringRef name)
    : key{uint32_t(seed), uint32_t(seed >> 32)},
      stream(hashText(name, hashText(llvm::StringRef("\0", 1),
                                     hashText(purpose, 0xCBF29CE484222325)))) {}

std::array<uint32_t, 4> RandomStream::block(uint64_t index) const {
  return philox4x32({uint32_t(index), uint32_t(index >> 32), uint32_t(stream),
                     uint32_t(stream >> 32)},
                    key);
}

uint64_t RandomStream::bits(uint64_t index) const {
  std::array<uint32_t, 4> words = block(index / 2);
  size_t half = index % 2 * 2;
  return uint64_t(words[half + 1]) << 32 | words[half];
}

double RandomStream::uniform(uint64_t index) const {
  return double(bits(index) >> 11) * 0x1p-53;
}

double RandomStream::normal(uint64_t index) const {
  constexpr double twoPi = 6.283185307179586476925286766559;
  std::array<uint32_t, 4> words = block(index / 2);
  // In (0, 1]: its logarithm is finite.
  double radius = std::sqrt(
      -2 * std::log((double(uint64_t(words[1]) << 21 | words[0] >> 11) + 1) *
                    0x1p-53));
  double angle =
      twoPi * (double(uint64_t(words[3]) << 21 | words[2] >> 11) * 0x1p-53);
  return radius * (index % 2 ? std::sin(angle) : std::cos(angle));
}

uint64_t RandomStream::below(uint64_t index, uint64_t bound) const {
  return uint64_t((static_cast<unsigned __int128>(bits(index)) * bound) >> 64);
}
