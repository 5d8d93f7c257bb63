#include "engine/prefix_tree.h"

#include <algorithm>
#include <bit>

#include "base/ensure.h"
#include "base/hash.h"

namespace quern {

namespace {

constexpr int64_t kMaxChildrenCompared = 16;

uint64_t num_buckets(int64_t max_nodes) {
  return std::bit_ceil(static_cast<uint64_t>(std::max<int64_t>(16, 2 * max_nodes)));
}

}  // namespace

PrefixTree::PrefixTree(int64_t max_nodes, int64_t num_groups, uint64_t key, const Faults* faults)
    : num_groups_(static_cast<size_t>(num_groups)),
      faults_(faults),
      nodes_(static_cast<size_t>(max_nodes)),
      tokens_(static_cast<size_t>(max_nodes) * kKvBlockTokens),
      blocks_(static_cast<size_t>(max_nodes * num_groups), kNoBlock),
      buckets_(num_buckets(max_nodes), kNoNode) {
  ENSURE(max_nodes >= 1);
  nodes_[kRoot].path_hash = key;
  nodes_[kRoot].references = 1;  // the root never goes
  for (int32_t node = static_cast<int32_t>(max_nodes) - 1; node > kRoot; --node) {
    nodes_[static_cast<size_t>(node)].next_in_bucket = first_free_;
    first_free_ = node;
  }
}

int64_t PrefixTree::bytes(int64_t max_nodes, int64_t num_groups) {
  return max_nodes * (static_cast<int64_t>(sizeof(Node)) + 4 * (kKvBlockTokens + num_groups)) +
         4 * static_cast<int64_t>(num_buckets(max_nodes));
}

uint64_t PrefixTree::path_hash_after(uint64_t parent_hash, Tokens tokens) {
  return xxh64(std::as_bytes(tokens), parent_hash);
}

uint64_t PrefixTree::hash_below(int32_t parent, Tokens tokens) const {
  const bool forgets_parent = is_planted(faults_, PlantedBug::kHashWithoutParent);
  return path_hash_after(path_hash(forgets_parent ? kRoot : parent), tokens);
}

int32_t PrefixTree::find(int32_t parent, Tokens tokens) const {
  const uint64_t hash = hash_below(parent, tokens);
  int32_t node = buckets_[hash & (buckets_.size() - 1)];
  for (; node != kNoNode; node = nodes_[static_cast<size_t>(node)].next_in_bucket) {
    const Node& at = nodes_[static_cast<size_t>(node)];
    if (at.path_hash != hash) continue;
    if (at.parent != parent && !is_planted(faults_, PlantedBug::kHashWithoutParent)) continue;
    if (std::ranges::equal(this->tokens(node), tokens)) return node;
  }
  return kNoNode;
}

int32_t PrefixTree::find_or_add(int32_t parent, Tokens tokens) {
  if (const int32_t found = find(parent, tokens); found != kNoNode) return found;
  if (first_free_ == kNoNode) return kNoNode;

  const int32_t node = first_free_;
  Node& at = nodes_[static_cast<size_t>(node)];
  first_free_ = at.next_in_bucket;
  const uint64_t hash = hash_below(parent, tokens);
  Node& above = nodes_[static_cast<size_t>(parent)];
  at = {.path_hash = hash,
        .parent = parent,
        .next_in_bucket = bucket(hash),
        .next_sibling = above.first_child};
  bucket(hash) = node;
  if (above.first_child != kNoNode) {
    nodes_[static_cast<size_t>(above.first_child)].previous_sibling = node;
  }
  above.first_child = node;
  hold(parent);
  std::ranges::copy(tokens, tokens_.begin() + std::ptrdiff_t{node} * kKvBlockTokens);
  ++num_nodes_;
  return node;
}

void PrefixTree::drop(int32_t node) {
  while (node != kNoNode) {
    Node& at = nodes_[static_cast<size_t>(node)];
    ENSURE(at.references > 0, "prefix node ", node, " is given back too often");
    if (--at.references > 0) return;
    const int32_t parent = at.parent;
    unlink(node);
    node = parent;
  }
}

void PrefixTree::unlink(int32_t node) {
  Node& at = nodes_[static_cast<size_t>(node)];
  int32_t* link = &bucket(at.path_hash);
  while (*link != node) link = &nodes_[static_cast<size_t>(*link)].next_in_bucket;
  *link = at.next_in_bucket;

  if (at.previous_sibling != kNoNode) {
    nodes_[static_cast<size_t>(at.previous_sibling)].next_sibling = at.next_sibling;
  } else {
    nodes_[static_cast<size_t>(at.parent)].first_child = at.next_sibling;
  }
  if (at.next_sibling != kNoNode) {
    nodes_[static_cast<size_t>(at.next_sibling)].previous_sibling = at.previous_sibling;
  }
  at = {.next_in_bucket = first_free_};
  first_free_ = node;
  --num_nodes_;
}

int64_t PrefixTree::common_with_children(int32_t node, std::span<const int32_t> tokens) const {
  int64_t best = 0;
  int32_t child = nodes_[static_cast<size_t>(node)].first_child;
  for (int64_t i = 0; i < kMaxChildrenCompared && child != kNoNode; ++i) {
    const auto [mine, theirs] = std::ranges::mismatch(tokens, this->tokens(child));
    best = std::max<int64_t>(best, mine - tokens.begin());
    child = nodes_[static_cast<size_t>(child)].next_sibling;
  }
  return best;
}

}  // namespace quern
