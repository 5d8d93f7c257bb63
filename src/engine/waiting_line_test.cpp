#include "engine/waiting_line.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

struct Asks {
  RequestId id = 0;
  int32_t priority = 0;
  uint32_t tenant = 0;
};

std::unique_ptr<Sequence> sequence_of(const Asks& asks) {
  Request request;
  request.prompt = {1, 2, 3};
  request.priority = asks.priority;
  request.tenant = asks.tenant;
  auto sequence = std::make_unique<Sequence>(asks.id, std::move(request), 5, 0);
  sequence->order = asks.id;
  return sequence;
}

WaitingLine line_of(std::initializer_list<Asks> all) {
  WaitingLine line(4);
  for (const Asks& asks : all) line.add(sequence_of(asks));
  return line;
}

std::vector<RequestId> drained(WaitingLine& line, int64_t charge) {
  std::vector<RequestId> order;
  while (Sequence* next = line.next()) {
    order.push_back(next->result.id);
    line.charge(next->request.tenant, charge);
    line.remove(*next);
  }
  return order;
}

TEST(WaitingLine, GoesByPriorityThenByServiceThenByArrival) {
  WaitingLine line = line_of({{1, 0, 0}, {2, 0, 0}, {3, 0, 1}, {4, -1, 0}, {5, 1, 2}, {6, 0, 1}});
  EXPECT_EQ(line.size(), 6);
  // 4 is the most urgent and costs tenant 0 its turn, then the two take turns, 5 comes last
  // although its tenant has had nothing.
  EXPECT_EQ(drained(line, 10), (std::vector<RequestId>{4, 3, 1, 6, 2, 5}));
  EXPECT_TRUE(line.empty());
}

TEST(WaitingLine, OneTenantGoesByArrivalWhateverItHasHad) {
  WaitingLine line = line_of({{1, 0, 3}, {2, 0, 3}, {3, 0, 3}});
  EXPECT_EQ(drained(line, 1'000), (std::vector<RequestId>{1, 2, 3}));
}

TEST(WaitingLine, WhoWasTakenOffComesBackToItsPlace) {
  WaitingLine line = line_of({{1, -2, 0}, {3, 0, 0}, {4, 0, 0}, {5, 7, 0}});
  line.put_back(sequence_of({2, 0, 0}));
  EXPECT_EQ(drained(line, 1), (std::vector<RequestId>{1, 2, 3, 4, 5}));
}

TEST(WaitingLine, NewcomerIsLiftedToTheLeastServedOfThoseWhoWait) {
  WaitingLine line = line_of({{1, 0, 0}, {2, 0, 1}});
  line.charge(0, 500);
  line.charge(1, 300);
  line.add(sequence_of({3, 0, 2}));
  EXPECT_EQ(line.tenant(2).served, 0);
  EXPECT_EQ(line.tenant(2).service(), 300);
  EXPECT_EQ(line.next()->result.id, 2u);  // as much as 3's tenant, and it came first
  line.add(sequence_of({4, 0, 2}));       // who has something waiting is not lifted again
  line.charge(1, 100);
  EXPECT_EQ(line.tenant(2).service(), 300);
  EXPECT_EQ(line.next()->result.id, 3u);
}

TEST(WaitingLine, FirstAfterAPauseStartsWithWhatTheLastToWaitHasHad) {
  WaitingLine line = line_of({{1, 0, 0}});
  line.charge(0, 700);
  line.remove(*line.next());
  line.charge(0, 50);  // it runs on
  line.add(sequence_of({2, 0, 1}));
  EXPECT_EQ(line.tenant(1).service(), 750);
}

TEST(WaitingLine, WhoWasTakenOffIsNotLifted) {
  WaitingLine line = line_of({{1, 0, 0}});
  line.charge(0, 700);
  line.put_back(sequence_of({2, 0, 1}));
  EXPECT_EQ(line.tenant(1).service(), 0);
  EXPECT_EQ(line.next()->result.id, 2u);
}

}  // namespace
}  // namespace quern
