#include "exec/cpu/isa.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quern::cpu {
namespace {

TEST(Isa, AutoIsAvailableAndUnknownNamesAreRefused) {
  const auto chosen = choose_isa("auto");
  ASSERT_TRUE(chosen.has_value());
  const auto isas = available_isas();
  EXPECT_NE(std::find(isas.begin(), isas.end(), *chosen), isas.end());
  EXPECT_EQ(choose_isa("sse9").error().code, ErrorCode::kUsage);
  const Error refused = choose_isa("avx512fp16").error();
  EXPECT_EQ(refused.code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.message.find("avx2"), std::string::npos);
}

}  // namespace
}  // namespace quern::cpu
