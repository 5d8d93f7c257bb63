#include "base/memory.h"

#include <gtest/gtest.h>
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <span>

namespace quern {
namespace {

using Nodes = std::vector<int>;

TEST(Memory, ReadsTheKernelsListsOfNodes) {
  EXPECT_EQ(parse_node_list("0"), Nodes{0});
  EXPECT_EQ(parse_node_list("0-1"), (Nodes{0, 1}));
  EXPECT_EQ(parse_node_list("0-2,5,7-8"), (Nodes{0, 1, 2, 5, 7, 8}));
  EXPECT_EQ(parse_node_list("1023"), Nodes{1023});
  for (const char* wrong : {"", "a", "0-", "-1", "2-1", "0,,1", "0,", "0-1-2", "1024", "0 1"}) {
    EXPECT_EQ(parse_node_list(wrong), Nodes{}) << wrong;
  }
}

TEST(Memory, NodesAreThoseOfThisProcess) {
  const Nodes nodes = memory_nodes();
  ASSERT_FALSE(nodes.empty());
  EXPECT_TRUE(std::ranges::is_sorted(nodes));
}

TEST(Memory, PagesAreInterleavedOverTheNodesGiven) {
  constexpr size_t kBytes = size_t{1} << 20;
  void* const data =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(data, MAP_FAILED);
  const Nodes nodes = memory_nodes();
  if (!interleave_pages(data, kBytes, nodes)) {
    const int why = errno;
    munmap(data, kBytes);
    ASSERT_TRUE(why == EPERM || why == ENOSYS) << why;
    GTEST_SKIP() << "this system allows no memory policies (a container's seccomp filter?)";
  }
  int policy = -1;
  constexpr int kMostNodes = 1024, kBits = 8 * sizeof(unsigned long);
  unsigned long mask[kMostNodes / kBits] = {};
  ASSERT_EQ(syscall(SYS_get_mempolicy, &policy, mask, kMostNodes + 1, data, MPOL_F_ADDR), 0);
  EXPECT_EQ(policy, MPOL_INTERLEAVE);
  for (const int node : nodes) EXPECT_TRUE(mask[node / kBits] >> node % kBits & 1) << node;
  munmap(data, kBytes);
}

TEST(Memory, ANodeThatIsNotThereIsRefused) {
  constexpr size_t kBytes = 4096;
  void* const data =
      mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(data, MAP_FAILED);
  for (const int none : {1023, 1024, -1}) {
    EXPECT_FALSE(interleave_pages(data, kBytes, std::span(&none, 1))) << none;
  }
  munmap(data, kBytes);
}

}  // namespace
}  // namespace quern
