#include "net/sse_reader.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/cat.h"

namespace quern {
namespace {

using Events = std::vector<std::string>;

struct Reading {
  Events events;
  bool failed = false;
  bool operator==(const Reading&) const = default;
};

/// Reads pieces one after the other, until one fails.
Reading read(const std::vector<std::string_view>& pieces, size_t most_event_bytes = 1000) {
  SseReader reader(most_event_bytes);
  Reading reading;
  for (const std::string_view piece : pieces) {
    const Result<void> fed =
        reader.feed(piece, [&](std::string_view data) { reading.events.emplace_back(data); });
    if (!fed) {
      EXPECT_EQ(fed.error().code, ErrorCode::kBadInput);
      reading.failed = true;
      break;
    }
  }
  return reading;
}

Events events_of(std::string_view text) { return read({text}).events; }

TEST(SseReader, AnEventIsTheDataUpToAnEmptyLine) {
  EXPECT_EQ(events_of("data: a\n\ndata:b\n\ndata:  c\n\n"), (Events{"a", "b", " c"}));
  EXPECT_EQ(events_of("data: first\ndata: second\n\n"), (Events{"first\nsecond"}));
  EXPECT_EQ(events_of("data\n\n"), (Events{""}));
  EXPECT_EQ(events_of("data: a"), Events{});
  EXPECT_EQ(events_of("data: a\n"), Events{});
}

TEST(SseReader, WhatIsNoDataIsReadOver) {
  EXPECT_EQ(events_of(": heartbeat\n\nevent: message\nid: 7\nretry: 10\ndata: a\n\n"),
            (Events{"a"}));
  EXPECT_EQ(events_of("database: a\n\ndat: b\n\nDATA: c\n\n"), Events{});
}

TEST(SseReader, LinesEndInAnyOfTheThreeWays) {
  EXPECT_EQ(events_of("data: a\r\n\r\ndata: b\r\rdata: c\n\ndata: d\r\n\n"),
            (Events{"a", "b", "c", "d"}));
}

TEST(SseReader, AByteOrderMarkStandsOnlyAtTheStart) {
  EXPECT_EQ(events_of("\xEF\xBB\xBF"
                      "data: a\n\n"),
            (Events{"a"}));
  EXPECT_EQ(events_of("data: a\n\n\xEF\xBB\xBF"
                      "data: b\n\n"),
            (Events{"a"}));
}

TEST(SseReader, TheSameEventsHoweverTheBytesAreCut) {
  const std::string text =
      "\xEF\xBB\xBF"
      "data: {\"a\":1}\r\n\r\n: wait\r\rdata: b\ndata: \xC3\xA9\n\nid: 1\rdata\r\r\n"
      "data: [DONE]\n\ndata: never ended";
  const Reading whole = read({text});
  EXPECT_EQ(whole.events.size(), 4u);
  for (size_t i = 0; i <= text.size(); ++i) {
    for (size_t j = i; j <= text.size(); ++j) {
      const std::string_view all = text;
      ASSERT_EQ(read({all.substr(0, i), all.substr(i, j - i), all.substr(j)}), whole)
          << "cut at " << i << " and " << j;
    }
  }
}

TEST(SseReader, AnEventBeyondTheLimitEndsTheStreamHoweverItIsCut) {
  const std::string fits = cat("data: ", std::string(14, 'x'), "\n\n");
  const std::string too_long = cat(fits, "data: ", std::string(15, 'x'), "\n\n");
  EXPECT_EQ(read({fits}, 20), (Reading{{std::string(14, 'x')}, false}));
  const Reading expected{{std::string(14, 'x')}, true};
  for (size_t i = 0; i <= too_long.size(); ++i) {
    const std::string_view all = too_long;
    EXPECT_EQ(read({all.substr(0, i), all.substr(i)}, 20), expected) << "cut at " << i;
  }
  // Neither many short lines nor a line that never ends is kept beyond it.
  EXPECT_TRUE(read({"data: aaaa\ndata: bbbb\ndata: cccc\ndata: dddd\n"}, 20).failed);
  EXPECT_TRUE(read({std::string(21, ':')}, 20).failed);
}

}  // namespace
}  // namespace quern
