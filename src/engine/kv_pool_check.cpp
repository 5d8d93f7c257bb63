// Recounts everything KvPool keeps, from the tables up, so that a wrong count cannot vouch for
// itself.

#include <algorithm>

#include "base/cat.h"
#include "engine/kv_pool.h"

namespace quern {

std::optional<std::string> KvPool::check() const {
  std::vector<int32_t> node_references(static_cast<size_t>(tree_.max_nodes()), 0);
  std::vector<bool> node_lives(static_cast<size_t>(tree_.max_nodes()), false);
  node_references[PrefixTree::kRoot] = 1;
  for (int32_t node = 0; node < tree_.max_nodes(); ++node) {
    node_lives[static_cast<size_t>(node)] = tree_.references(node) > 0;
    if (node == PrefixTree::kRoot || tree_.references(node) == 0) continue;
    const int32_t parent = tree_.parent(node);
    if (parent < 0 || tree_.references(parent) == 0) {
      return cat("prefix node ", node, " outlives its parent");
    }
    ++node_references[static_cast<size_t>(parent)];
    if (tree_.find(parent, tree_.tokens(node)) != node) {
      return cat("prefix node ", node, " is not found under its parent and tokens");
    }
  }

  for (int64_t g = 0; g < num_groups(); ++g) {
    const Group& group = groups_[static_cast<size_t>(g)];
    const int64_t total = group.size.num_blocks;
    std::vector<int32_t> named(static_cast<size_t>(total), 0);
    for (int32_t slot = 0; slot < static_cast<int32_t>(slots_.size()); ++slot) {
      if (!slots_[static_cast<size_t>(slot)].open && !table(slot, g).empty()) {
        return cat("closed slot ", slot, " still has a table in group ", g);
      }
      for (const int32_t block : table(slot, g)) {
        if (block == kNoBlock) continue;
        if (block < 0 || block >= total) return cat("slot ", slot, " names block ", block);
        ++named[static_cast<size_t>(block)];
      }
    }

    std::vector<int32_t> lists(static_cast<size_t>(total), 0);
    for (const int32_t block : group.free) {
      ++lists[static_cast<size_t>(block)];
      if (group.blocks[static_cast<size_t>(block)].node != PrefixTree::kNoNode) {
        return cat("free block ", block, " of group ", g, " can still be found");
      }
    }
    int64_t num_listed = 0;
    int32_t older = kNoBlock;
    for (int32_t block = group.oldest; block != kNoBlock;) {
      const Block& at = group.blocks[static_cast<size_t>(block)];
      if (++num_listed > total || at.older != older) {
        return cat("the list of cached blocks of group ", g, " is broken");
      }
      ++lists[static_cast<size_t>(block)];
      older = block;
      block = at.newer;
    }
    if (num_listed != group.num_cached || group.newest != older) {
      return cat("group ", g, " counts ", group.num_cached, " cached blocks, ", num_listed,
                 " are listed");
    }

    if (const auto wrong = check_salts(g)) return wrong;

    for (int32_t block = 0; block < total; ++block) {
      const Block& at = group.blocks[static_cast<size_t>(block)];
      const int32_t count = named[static_cast<size_t>(block)];
      if (at.references != count) {
        return cat("block ", block, " of group ", g, " counts ", at.references, " references, ",
                   count, " tables name it");
      }
      const int32_t places = lists[static_cast<size_t>(block)] + (at.references > 0 ? 1 : 0);
      if (places != 1) {
        return cat("block ", block, " of group ", g, " is in ", places,
                   " of free, cached and held");
      }
      if (at.node == PrefixTree::kNoNode) continue;
      if (tree_.references(at.node) == 0 || tree_.block(at.node, g) != block) {
        return cat("block ", block, " of group ", g, " is not the one its prefix node names");
      }
      ++node_references[static_cast<size_t>(at.node)];
    }
    for (int32_t node = 0; node < tree_.max_nodes(); ++node) {
      const int32_t block = tree_.references(node) > 0 ? tree_.block(node, g) : kNoBlock;
      if (block != kNoBlock && group.blocks[static_cast<size_t>(block)].node != node) {
        return cat("prefix node ", node, " names block ", block, " of group ", g,
                   ", which is another's");
      }
    }
  }

  for (const Slot& slot : slots_) {
    if (slot.node != PrefixTree::kNoNode) ++node_references[static_cast<size_t>(slot.node)];
  }
  int64_t num_nodes = 0;
  for (int32_t node = 0; node < tree_.max_nodes(); ++node) {
    num_nodes += node_lives[static_cast<size_t>(node)] ? 1 : 0;
    if (tree_.references(node) != node_references[static_cast<size_t>(node)]) {
      return cat("prefix node ", node, " counts ", tree_.references(node), " references, it has ",
                 node_references[static_cast<size_t>(node)]);
    }
  }
  if (num_nodes != tree_.num_nodes()) return cat("the prefix tree lost count of its nodes");
  return std::nullopt;
}

/// The lists of cached blocks by salt: all of them are in one, that of their own salt, and none is
/// longer than a salt's share.
std::optional<std::string> KvPool::check_salts(int64_t g) const {
  if (!shares_by_salt()) return std::nullopt;
  const Group& group = groups_[static_cast<size_t>(g)];
  int64_t num_listed = 0;
  for (int32_t node = 0; node < tree_.max_nodes(); ++node) {
    const SaltList& list =
        salt_lists_[static_cast<size_t>(node) * groups_.size() + static_cast<size_t>(g)];
    if (list.num_cached > group.max_cached_of_salt) {
      return cat(list.num_cached, " blocks of group ", g, " are cached under one salt, ",
                 group.max_cached_of_salt, " may be");
    }
    int64_t length = 0;
    int32_t older = kNoBlock;
    for (int32_t block = list.oldest; block != kNoBlock;) {
      const Block& at = group.blocks[static_cast<size_t>(block)];
      if (++length > group.num_cached || at.older_of_salt != older || at.salt != node ||
          at.references > 0) {
        return cat("the list of cached blocks of salt node ", node, " is broken");
      }
      int32_t above = at.node;
      while (above != node && above != PrefixTree::kRoot) above = tree_.parent(above);
      if (above != node) return cat("block ", block, " lies not below the node of its salt");
      older = block;
      block = at.newer_of_salt;
    }
    if (length != list.num_cached || list.newest != older) {
      return cat("salt node ", node, " counts ", list.num_cached, " cached blocks, ", length,
                 " are listed");
    }
    num_listed += length;
  }
  if (num_listed == group.num_cached) return std::nullopt;
  return cat("group ", g, " has ", group.num_cached, " cached blocks, ", num_listed,
             " are listed by salt");
}

int64_t KvPool::num_findable(int64_t group) const {
  return std::ranges::count_if(groups_[static_cast<size_t>(group)].blocks, [](const Block& block) {
    return block.node != PrefixTree::kNoNode;
  });
}

bool KvPool::is_private(int32_t slot, int64_t group_idx, int64_t position) const {
  const int64_t idx = position / kKvBlockTokens;
  if (idx >= table_end(slot, group_idx)) return false;
  const int32_t block = entry(slot, group_idx, idx);
  if (block == kNoBlock) return false;
  const Block& at = groups_[static_cast<size_t>(group_idx)].blocks[static_cast<size_t>(block)];
  return at.references == 1 && at.node == PrefixTree::kNoNode;
}

}  // namespace quern
