#pragma once

#include <array>
#include <cstdint>

namespace quern {

/// Philox4x32 with 10 rounds: 128 random bits that are a pure function of (key, counter), so that
/// a draw depends on nothing that was drawn before it.
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3".
constexpr std::array<uint32_t, 4> philox4x32(std::array<uint32_t, 4> counter,
                                             std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t{0xD2511F53} * counter[0];
    const uint64_t b = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(b >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(b),
               static_cast<uint32_t>(a >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(a)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

/// 64 random bits of draw number `draw` at `position` of the stream of `seed`.
constexpr uint64_t random_bits(uint64_t seed, uint64_t position, uint32_t draw = 0) {
  const std::array<uint32_t, 4> bits =
      philox4x32({static_cast<uint32_t>(position), static_cast<uint32_t>(position >> 32), draw, 0},
                 {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)});
  return (uint64_t{bits[1]} << 32) | bits[0];
}

/// Evenly distributed in [0, 1), in steps of 2^-53.
constexpr double random_unit(uint64_t seed, uint64_t position) {
  return static_cast<double>(random_bits(seed, position) >> 11) * 0x1p-53;
}

}  // namespace quern
