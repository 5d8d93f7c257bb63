#include "base/log.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(Log, TextOfAFileMovesNoCursorAndForgesNoLine) {
  EXPECT_EQ(printable("key \x1b[31m\r\nerror: forged\x7f \xC3\xA4"),
            "key  [31m  error: forged  \xC3\xA4");
}

}  // namespace
}  // namespace quern
