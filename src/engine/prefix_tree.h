#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/faults.h"
#include "exec/batch.h"

namespace quern {

/// Which token prefixes have key/value blocks: one node per whole block of tokens, below the node
/// of the tokens before it. A node is found through a keyed hash of the whole path, and only if
/// its parent and its tokens are equal: a colliding hash costs a comparison, never a wrong answer.
///
/// A node lives while something refers to it: a child, a block, or a sequence that stands on it.
/// All memory is taken at construction.
class PrefixTree {
 public:
  static constexpr int32_t kRoot = 0;
  static constexpr int32_t kNoNode = -1;
  using Tokens = std::span<const int32_t, kKvBlockTokens>;

  /// `key` enters every hash, so that nobody outside can aim at one bucket.
  PrefixTree(int64_t max_nodes, int64_t num_groups, uint64_t key, const Faults* faults);

  int32_t find(int32_t parent, Tokens tokens) const;
  /// The node, new if need be, or kNoNode if the tree is full. A new node is not referred to yet:
  /// hold it before anything else happens to the tree.
  int32_t find_or_add(int32_t parent, Tokens tokens);

  void hold(int32_t node) { ++nodes_[static_cast<size_t>(node)].references; }
  /// Gives one reference back; a node without any goes, and with it its reference to the parent.
  void drop(int32_t node);

  int32_t block(int32_t node, int64_t group) const { return blocks_[block_index(node, group)]; }
  void set_block(int32_t node, int64_t group, int32_t block) {
    blocks_[block_index(node, group)] = block;
  }

  /// The hash of the path from the root through `node`, and of that path one block further.
  uint64_t path_hash(int32_t node) const { return nodes_[static_cast<size_t>(node)].path_hash; }
  static uint64_t path_hash_after(uint64_t parent_hash, Tokens tokens);

  /// How many of `tokens` the most similar child of `node` begins with; looks at a bounded number
  /// of children, since it only explains.
  int64_t common_with_children(int32_t node, std::span<const int32_t> tokens) const;

  int32_t parent(int32_t node) const { return nodes_[static_cast<size_t>(node)].parent; }
  int32_t references(int32_t node) const { return nodes_[static_cast<size_t>(node)].references; }
  Tokens tokens(int32_t node) const {
    return Tokens(tokens_.data() + static_cast<size_t>(node) * kKvBlockTokens, kKvBlockTokens);
  }
  int64_t max_nodes() const { return static_cast<int64_t>(nodes_.size()); }
  int64_t num_nodes() const { return num_nodes_; }
  static int64_t bytes(int64_t max_nodes, int64_t num_groups);

 private:
  struct Node {
    uint64_t path_hash = 0;
    int32_t parent = kNoNode;
    int32_t references = 0;
    int32_t next_in_bucket = kNoNode;  // of a free node: the next free one
    int32_t first_child = kNoNode;
    int32_t next_sibling = kNoNode;
    int32_t previous_sibling = kNoNode;
  };

  size_t block_index(int32_t node, int64_t group) const {
    return static_cast<size_t>(node) * num_groups_ + static_cast<size_t>(group);
  }
  uint64_t hash_below(int32_t parent, Tokens tokens) const;
  int32_t& bucket(uint64_t hash) { return buckets_[hash & (buckets_.size() - 1)]; }
  void unlink(int32_t node);

  size_t num_groups_;
  const Faults* faults_;
  std::vector<Node> nodes_;
  std::vector<int32_t> tokens_;   // [max_nodes, kKvBlockTokens]
  std::vector<int32_t> blocks_;   // [max_nodes, groups], kNoBlock: none
  std::vector<int32_t> buckets_;  // first node of each, a power of two of them
  int32_t first_free_ = kNoNode;
  int64_t num_nodes_ = 1;
};

}  // namespace quern
