// What the tests of the kernels share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <random>
#include <string>
#include <vector>

#include "exec/cpu/isa.h"
#include "exec/cpu/kernel_table.h"

namespace quern::cpu {

inline std::vector<float> random_values(size_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// Memory that begins on a 64-byte line, as the executor's arenas do.
class Aligned {
 public:
  explicit Aligned(int64_t bytes) : bytes_(static_cast<size_t>(bytes) + 64) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    start_ = bytes_.data() + (64 - address % 64) % 64;
  }
  std::byte* data() { return start_; }

 private:
  std::vector<std::byte> bytes_;
  std::byte* start_;
};

inline void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b,
                             const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i] << " and " << b[i];
  }
}

/// A test that is made for each level of this CPU.
class EveryLevel : public testing::TestWithParam<Isa> {
 protected:
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
};
inline std::string level_name(const testing::TestParamInfo<Isa>& level) {
  return std::string(isa_name(level.param));
}

}  // namespace quern::cpu
