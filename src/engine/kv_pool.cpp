#include "engine/kv_pool.h"

#include <algorithm>
#include <array>
#include <bit>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

/// A salt is a path of nodes like any other, of "tokens" that no prompt can hold: its bytes, below
/// zero. So it is compared exactly and lives as long as somebody's prefix below it.
constexpr int32_t kSaltPad = INT32_MIN;
constexpr int64_t kMaxSaltNodes = KvPool::kMaxSaltBytes / kKvBlockTokens;

std::array<int32_t, kKvBlockTokens> salt_tokens(std::string_view salt, size_t from) {
  std::array<int32_t, kKvBlockTokens> tokens;
  tokens.fill(kSaltPad);
  for (size_t i = 0; i < tokens.size() && from + i < salt.size(); ++i) {
    tokens[i] = -1 - static_cast<int32_t>(static_cast<uint8_t>(salt[from + i]));
  }
  return tokens;
}

PrefixTree::Tokens block_tokens(std::span<const int32_t> tokens, int64_t idx) {
  return PrefixTree::Tokens(tokens.data() + idx * kKvBlockTokens, kKvBlockTokens);
}

int64_t blocks_of(int64_t tokens) { return (tokens + kKvBlockTokens - 1) / kKvBlockTokens; }

int64_t total_blocks(const KvPoolOptions& options) {
  int64_t total = 0;
  for (const KvGroupSize& group : options.groups) total += group.num_blocks;
  return total;
}

uint64_t num_marks(const KvPoolOptions& options) {
  if (!options.prefix_caching) return 0;
  return std::bit_ceil(static_cast<uint64_t>(2 * total_blocks(options) + 1));
}

}  // namespace

std::string_view miss_reason_name(MissReason reason) {
  switch (reason) {
    case MissReason::kNone:
      return "none";
    case MissReason::kBlockBoundary:
      return "block_boundary";
    case MissReason::kDiverged:
      return "diverged";
    case MissReason::kEvicted:
      return "evicted";
    case MissReason::kOtherSalt:
      return "other_salt";
    case MissReason::kNotCacheable:
      return "not_cacheable";
    case MissReason::kOff:
      return "off";
  }
  return "unknown";
}

int64_t worst_case_blocks(int64_t window, int64_t tokens, int64_t chunk) {
  const int64_t whole = blocks_of(tokens);
  if (window == 0) return whole;
  // The chunk's first token looks at window - 1 before it; n tokens in a row, wherever they begin,
  // lie in at most (n + 30) / 32 + 1 blocks.
  const int64_t span = window - 1 + std::max<int64_t>(1, std::min(chunk, tokens));
  return std::min(whole, (span + kKvBlockTokens - 2) / kKvBlockTokens + 1);
}

int64_t KvPool::max_nodes(const KvPoolOptions& options) {
  if (!options.prefix_caching) return 1;
  // A node is there for a block, for a salt, or as the ancestor of one whose block a window has
  // given up. Should more be wanted, the newest blocks just cannot be found.
  const bool whole_context = std::ranges::any_of(
      options.groups, [](const KvGroupSize& group) { return group.window == 0; });
  const int64_t depth = whole_context ? 0 : blocks_of(options.max_model_len);
  return 1 + 2 * total_blocks(options) + options.max_sequences * (kMaxSaltNodes + depth);
}

int64_t KvPool::bytes(const KvPoolOptions& options) {
  const auto num_groups = static_cast<int64_t>(options.groups.size());
  const int64_t stride = blocks_of(options.max_model_len);
  const int64_t salt_lists = options.max_salt_share < 1 ? max_nodes(options) * num_groups : 0;
  return PrefixTree::bytes(max_nodes(options), num_groups) +
         salt_lists * static_cast<int64_t>(sizeof(SaltList)) +
         total_blocks(options) * static_cast<int64_t>(sizeof(Block) + sizeof(int32_t)) +
         4 * options.max_sequences * num_groups * (stride + 2) + 4 * (stride + kMaxSaltNodes) +
         static_cast<int64_t>(num_marks(options) * (sizeof(uint64_t) + sizeof(SaltMark)));
}

KvPool::KvPool(KvPoolOptions options)
    : faults_(options.faults),
      prefix_caching_(options.prefix_caching),
      max_sequences_(options.max_sequences),
      stride_(blocks_of(options.max_model_len)),
      groups_(options.groups.size()),
      slots_(static_cast<size_t>(options.max_sequences)),
      tables_(slots_.size() * groups_.size() * static_cast<size_t>(stride_), kNoBlock),
      table_ends_(slots_.size() * groups_.size(), 0),
      tree_(max_nodes(options), static_cast<int64_t>(groups_.size()), options.hash_key,
            options.faults),
      salt_lists_(options.max_salt_share < 1
                      ? static_cast<size_t>(max_nodes(options)) * groups_.size()
                      : 0),
      path_(static_cast<size_t>(stride_)),
      evicted_(num_marks(options)),
      salt_marks_(num_marks(options)) {
  ENSURE(!groups_.empty());
  for (size_t g = 0; g < groups_.size(); ++g) {
    Group& group = groups_[g];
    group.size = options.groups[g];
    group.max_cached_of_salt = static_cast<int64_t>(std::max(0.0, options.max_salt_share) *
                                                    static_cast<double>(group.size.num_blocks));
    group.blocks.resize(static_cast<size_t>(group.size.num_blocks));
    group.free.reserve(group.blocks.size());
    for (auto block = static_cast<int32_t>(group.size.num_blocks); block > 0; --block) {
      group.free.push_back(block - 1);
    }
  }
}

int64_t KvPool::num_free(int64_t group) const {
  return static_cast<int64_t>(groups_[static_cast<size_t>(group)].free.size());
}

int64_t KvPool::num_cached(int64_t group) const {
  return groups_[static_cast<size_t>(group)].num_cached;
}

int32_t& KvPool::entry(int32_t slot, int64_t group, int64_t idx) {
  return tables_[static_cast<size_t>((slot * num_groups() + group) * stride_ + idx)];
}

int32_t KvPool::entry(int32_t slot, int64_t group, int64_t idx) const {
  return tables_[static_cast<size_t>((slot * num_groups() + group) * stride_ + idx)];
}

int64_t& KvPool::table_end(int32_t slot, int64_t group) {
  return table_ends_[static_cast<size_t>(slot * num_groups() + group)];
}

int64_t KvPool::table_end(int32_t slot, int64_t group) const {
  return table_ends_[static_cast<size_t>(slot * num_groups() + group)];
}

std::span<const int32_t> KvPool::table(int32_t slot, int64_t group) const {
  return {tables_.data() + (slot * num_groups() + group) * stride_,
          static_cast<size_t>(table_end(slot, group))};
}

/// The first block that the token at `position` looks at.
int64_t KvPool::first_needed(int64_t group, int64_t position) const {
  const int64_t reach = window(group);
  if (reach == 0) return 0;
  return std::max<int64_t>(0, position - reach + 1) / kKvBlockTokens;
}

// -- Finding a prefix ---------------------------------------------------------------------------

int32_t KvPool::salt_node(std::string_view salt) const {
  if (is_planted(faults_, PlantedBug::kHashWithoutSalt)) return PrefixTree::kRoot;
  int32_t node = PrefixTree::kRoot;
  for (size_t from = 0; from < salt.size() && node != PrefixTree::kNoNode; from += kKvBlockTokens) {
    node = tree_.find(node, salt_tokens(salt, from));
  }
  return node;
}

int32_t KvPool::hold_salt_node(std::string_view salt) {
  if (is_planted(faults_, PlantedBug::kHashWithoutSalt)) salt = {};
  int32_t node = PrefixTree::kRoot;
  tree_.hold(node);
  for (size_t from = 0; from < salt.size(); from += kKvBlockTokens) {
    const int32_t next = tree_.find_or_add(node, salt_tokens(salt, from));
    if (next != PrefixTree::kNoNode) tree_.hold(next);
    tree_.drop(node);
    if (next == PrefixTree::kNoNode) return next;
    node = next;
  }
  return node;
}

PrefixMatch KvPool::match(int32_t from, std::span<const int32_t> tokens, int64_t max_cached) {
  const int64_t limit = std::min(max_cached, static_cast<int64_t>(tokens.size())) / kKvBlockTokens;
  int64_t num_path = 0;  // nodes that exist
  int64_t num_full = 0;  // of these, from the first on, with a block in each whole-context group
  bool whole = true;
  for (int32_t node = from; num_path < limit; ++num_path) {
    node = tree_.find(node, block_tokens(tokens, num_path));
    if (node == PrefixTree::kNoNode) break;
    path_[static_cast<size_t>(num_path)] = node;
    for (int64_t g = 0; g < num_groups(); ++g) {
      if (window(g) == 0 && tree_.block(node, g) == kNoBlock) whole = false;
    }
    if (whole) num_full = num_path + 1;
  }

  // A window group needs only the blocks that the next token looks at. If one of them is missing,
  // no prefix that ends behind it will do, because its window would still reach that block.
  for (bool again = num_full > 0; again;) {
    again = false;
    for (int64_t g = 0; g < num_groups(); ++g) {
      if (window(g) == 0) continue;
      for (int64_t i = num_full; i > first_needed(g, num_full * kKvBlockTokens); --i) {
        if (tree_.block(path_[static_cast<size_t>(i - 1)], g) != kNoBlock) continue;
        num_full = i - 1;
        again = num_full > 0;
      }
    }
  }
  return explain({.tokens = num_full * kKvBlockTokens}, tokens, num_path, num_full, max_cached);
}

PrefixMatch KvPool::explain(PrefixMatch match, std::span<const int32_t> tokens, int64_t num_path,
                            int64_t num_usable, int64_t max_cached) const {
  const int64_t limit = std::min(max_cached, static_cast<int64_t>(tokens.size())) / kKvBlockTokens;
  if (num_usable == limit) {
    match.reason = match.tokens + 1 == static_cast<int64_t>(tokens.size())
                       ? MissReason::kNone
                       : MissReason::kBlockBoundary;
    return match;
  }
  match.reason = MissReason::kEvicted;
  if (num_usable < num_path) return match;  // the node is there, some group's block is not
  const int32_t last = num_path > 0 ? path_[static_cast<size_t>(num_path - 1)] : PrefixTree::kRoot;
  const uint64_t missing =
      PrefixTree::path_hash_after(tree_.path_hash(last), block_tokens(tokens, num_path));
  if (evicted_[missing & (evicted_.size() - 1)] == missing) return match;
  match.reason = MissReason::kDiverged;
  match.diverged_at =
      match.tokens + tree_.common_with_children(
                         last, tokens.subspan(static_cast<size_t>(num_path * kKvBlockTokens)));
  return match;
}

PrefixMatch KvPool::open(int32_t slot, std::span<const int32_t> tokens, std::string_view salt,
                         int64_t max_cached) {
  Slot& at = slots_[static_cast<size_t>(slot)];
  ENSURE(!at.open, "slot ", slot, " is taken");
  at = {.open = true, .findable = false};
  for (int64_t g = 0; g < num_groups(); ++g) table_end(slot, g) = 0;
  if (!prefix_caching_) return {.reason = MissReason::kOff};

  at.salt = at.node = hold_salt_node(salt);
  at.findable = at.node != PrefixTree::kNoNode;
  if (max_cached <= 0 && tokens.size() > 1) return {.reason = MissReason::kNotCacheable};
  if (!at.findable) return {.reason = MissReason::kDiverged};
  PrefixMatch found = match(at.node, tokens, max_cached);
  if (found.tokens > 0) {
    share(slot, found.tokens / kKvBlockTokens);
  } else if (found.reason == MissReason::kDiverged) {
    const uint64_t first = PrefixTree::path_hash_after(0, block_tokens(tokens, 0));
    const SaltMark& mark = salt_marks_[first & (salt_marks_.size() - 1)];
    if (mark.tokens == first && mark.salt != tree_.path_hash(at.node)) {
      found.reason = MissReason::kOtherSalt;
    }
  }
  return found;
}

/// Puts the first `num_full` blocks of path_ into the tables of the slot.
void KvPool::share(int32_t slot, int64_t num_full) {
  Slot& at = slots_[static_cast<size_t>(slot)];
  const int32_t last = path_[static_cast<size_t>(num_full - 1)];
  for (int64_t g = 0; g < num_groups(); ++g) {
    const int64_t first = first_needed(g, num_full * kKvBlockTokens);
    for (int64_t i = 0; i < num_full; ++i) {
      entry(slot, g, i) = kNoBlock;
      if (i < first) continue;
      const int32_t block = tree_.block(path_[static_cast<size_t>(i)], g);
      const Block& shared = groups_[static_cast<size_t>(g)].blocks[static_cast<size_t>(block)];
      if (shared.references > 0) ++stats_.shared_with_owner;
      const bool forgets = is_planted(faults_, PlantedBug::kNoReferenceOnShare);
      if (!forgets || shared.references == 0) hold(g, block);
      entry(slot, g, i) = block;
    }
    table_end(slot, g) = num_full;
  }
  tree_.hold(last);
  tree_.drop(at.node);
  at.node = last;
  at.num_full = num_full;
}

// -- Taking and giving back ---------------------------------------------------------------------

int64_t KvPool::reservable_end(int32_t slot, int64_t end) const {
  for (int64_t g = 0; g < num_groups(); ++g) {
    end = std::min(end, (table_end(slot, g) + num_available(g)) * kKvBlockTokens);
  }
  return end;
}

bool KvPool::reserve(int32_t slot, int64_t end, int64_t whole_end) {
  ENSURE(slots_[static_cast<size_t>(slot)].open, "slot ", slot, " is not open");
  ENSURE(blocks_of(std::max(end, whole_end)) <= stride_);
  for (int64_t g = 0; g < num_groups(); ++g) {
    const int64_t wanted = blocks_of(window(g) == 0 ? whole_end : end);
    if (wanted - table_end(slot, g) > num_available(g)) {
      ++stats_.ran_out;
      return false;
    }
  }
  for (int64_t g = 0; g < num_groups(); ++g) {
    const int64_t wanted = blocks_of(window(g) == 0 ? whole_end : end);
    for (int64_t& idx = table_end(slot, g); idx < wanted; ++idx) entry(slot, g, idx) = take(g);
  }
  return true;
}

void KvPool::commit(int32_t slot, std::span<const int32_t> tokens, int64_t computed) {
  const bool early = is_planted(faults_, PlantedBug::kFindBlockOneTokenEarly);
  const int64_t known = std::min(computed + (early ? 1 : 0), static_cast<int64_t>(tokens.size()));
  make_findable(slot, tokens.first(static_cast<size_t>(known)));
  for (int64_t g = 0; g < num_groups(); ++g) {
    if (window(g) == 0) continue;
    int64_t first = std::min(first_needed(g, computed), table_end(slot, g));
    if (is_planted(faults_, PlantedBug::kWindowFreesOneBlockEarly) && first > 0 &&
        first + 1 < table_end(slot, g)) {
      ++first;
    }
    // What lies before was given up by earlier commits, so the loop ends at the first gap.
    for (int64_t i = first; i > 0 && entry(slot, g, i - 1) != kNoBlock; --i) {
      release(g, entry(slot, g, i - 1));
      entry(slot, g, i - 1) = kNoBlock;
      ++stats_.window_frees;
    }
  }
}

/// Enters the full blocks of `tokens` that the tree does not know yet. Where somebody else has
/// computed an equal block meanwhile, that one is used and the own one given back.
void KvPool::make_findable(int32_t slot, std::span<const int32_t> tokens) {
  Slot& at = slots_[static_cast<size_t>(slot)];
  const int64_t num_full = static_cast<int64_t>(tokens.size()) / kKvBlockTokens;
  for (; at.findable && at.num_full < num_full; ++at.num_full) {
    const int64_t idx = at.num_full;
    const int32_t node = tree_.find_or_add(at.node, block_tokens(tokens, idx));
    if (node == PrefixTree::kNoNode) {
      at.findable = false;
      return;
    }
    tree_.hold(node);
    if (idx == 0) {
      const uint64_t first = PrefixTree::path_hash_after(0, block_tokens(tokens, 0));
      salt_marks_[first & (salt_marks_.size() - 1)] = {first, tree_.path_hash(at.node)};
    }
    for (int64_t g = 0; g < num_groups(); ++g) {
      int32_t& own = entry(slot, g, idx);
      if (own == kNoBlock) continue;
      const int32_t other = tree_.block(node, g);
      if (other == kNoBlock) {
        tree_.set_block(node, g, own);
        tree_.hold(node);
        Block& block = groups_[static_cast<size_t>(g)].blocks[static_cast<size_t>(own)];
        block.node = node;
        block.salt = at.salt;
      } else if (other != own) {
        hold(g, other);
        release(g, own);
        own = other;
        ++stats_.merged;
      }
    }
    tree_.drop(at.node);
    at.node = node;
  }
}

void KvPool::close(int32_t slot) {
  Slot& at = slots_[static_cast<size_t>(slot)];
  ENSURE(at.open, "slot ", slot, " is closed twice");
  for (int64_t g = 0; g < num_groups(); ++g) {
    // Deepest first: a prefix is evicted from its end, so that what stays can still be reached.
    for (int64_t i = table_end(slot, g); i > 0; --i) {
      const int32_t block = entry(slot, g, i - 1);
      if (block != kNoBlock) release(g, block);
      entry(slot, g, i - 1) = kNoBlock;
    }
    table_end(slot, g) = 0;
  }
  if (at.node != PrefixTree::kNoNode) tree_.drop(at.node);
  at = {};
}

int32_t KvPool::take(int64_t group_idx) {
  Group& group = groups_[static_cast<size_t>(group_idx)];
  if (group.free.empty() && is_planted(faults_, PlantedBug::kEvictHeldBlock)) {
    for (size_t b = 0; b < group.blocks.size(); ++b) {
      if (group.blocks[b].references > 0 && group.blocks[b].node != PrefixTree::kNoNode) {
        evict(group_idx, static_cast<int32_t>(b));
        group.blocks[b].references = 1;
        group.free.pop_back();
        return static_cast<int32_t>(b);
      }
    }
  }
  if (group.free.empty()) evict(group_idx, group.oldest);
  const int32_t block = group.free.back();
  group.free.pop_back();
  Block& at = group.blocks[static_cast<size_t>(block)];
  ENSURE(at.references == 0 && at.node == PrefixTree::kNoNode, "block ", block,
         " was free and is in use");
  at.references = 1;
  return block;
}

void KvPool::hold(int64_t group_idx, int32_t block) {
  Group& group = groups_[static_cast<size_t>(group_idx)];
  Block& at = group.blocks[static_cast<size_t>(block)];
  if (at.references++ == 0) unlink_cached(group_idx, block);
}

void KvPool::release(int64_t group_idx, int32_t block) {
  Group& group = groups_[static_cast<size_t>(group_idx)];
  Block& at = group.blocks[static_cast<size_t>(block)];
  ENSURE(at.references > 0, "block ", block, " of group ", group_idx, " is given back too often");
  if (--at.references > 0) return;
  if (at.node == PrefixTree::kNoNode) {
    group.free.push_back(block);
    return;
  }
  at.older = group.newest;
  at.newer = kNoBlock;
  (group.newest == kNoBlock ? group.oldest
                            : group.blocks[static_cast<size_t>(group.newest)].newer) = block;
  group.newest = block;
  ++group.num_cached;
  if (!shares_by_salt()) return;
  link_to_salt(group_idx, block);
  const SaltList& list = salt_list(group_idx, at.salt);
  if (list.num_cached <= group.max_cached_of_salt) return;
  if (is_planted(faults_, PlantedBug::kSaltShareNotKept)) return;
  evict(group_idx, list.oldest);
  ++stats_.over_share;
}

KvPool::SaltList& KvPool::salt_list(int64_t group, int32_t salt) {
  return salt_lists_[static_cast<size_t>(salt) * groups_.size() + static_cast<size_t>(group)];
}

void KvPool::link_to_salt(int64_t group, int32_t block) {
  std::vector<Block>& blocks = groups_[static_cast<size_t>(group)].blocks;
  Block& at = blocks[static_cast<size_t>(block)];
  SaltList& list = salt_list(group, at.salt);
  at.older_of_salt = list.newest;
  at.newer_of_salt = kNoBlock;
  (list.newest == kNoBlock ? list.oldest : blocks[static_cast<size_t>(list.newest)].newer_of_salt) =
      block;
  list.newest = block;
  ++list.num_cached;
}

void KvPool::unlink_from_salt(int64_t group, int32_t block) {
  std::vector<Block>& blocks = groups_[static_cast<size_t>(group)].blocks;
  Block& at = blocks[static_cast<size_t>(block)];
  SaltList& list = salt_list(group, at.salt);
  (at.older_of_salt == kNoBlock ? list.oldest
                                : blocks[static_cast<size_t>(at.older_of_salt)].newer_of_salt) =
      at.newer_of_salt;
  (at.newer_of_salt == kNoBlock ? list.newest
                                : blocks[static_cast<size_t>(at.newer_of_salt)].older_of_salt) =
      at.older_of_salt;
  at.older_of_salt = at.newer_of_salt = kNoBlock;
  --list.num_cached;
}

void KvPool::unlink_cached(int64_t group_idx, int32_t block) {
  if (shares_by_salt()) unlink_from_salt(group_idx, block);
  Group& group = groups_[static_cast<size_t>(group_idx)];
  Block& at = group.blocks[static_cast<size_t>(block)];
  (at.older == kNoBlock ? group.oldest : group.blocks[static_cast<size_t>(at.older)].newer) =
      at.newer;
  (at.newer == kNoBlock ? group.newest : group.blocks[static_cast<size_t>(at.newer)].older) =
      at.older;
  at.older = at.newer = kNoBlock;
  --group.num_cached;
}

/// Makes a cached block a free one.
void KvPool::evict(int64_t group_idx, int32_t block) {
  ENSURE(block != kNoBlock, "no block to evict: a reservation went wrong");
  Group& group = groups_[static_cast<size_t>(group_idx)];
  Block& at = group.blocks[static_cast<size_t>(block)];
  if (at.references == 0) unlink_cached(group_idx, block);
  const uint64_t hash = tree_.path_hash(at.node);
  evicted_[hash & (evicted_.size() - 1)] = hash;
  tree_.set_block(at.node, group_idx, kNoBlock);
  tree_.drop(at.node);
  at.node = PrefixTree::kNoNode;
  group.free.push_back(block);
  ++stats_.evictions;
}

void KvPool::forget_prefixes() {
  for (int64_t g = 0; g < num_groups(); ++g) {
    Group& group = groups_[static_cast<size_t>(g)];
    while (group.oldest != kNoBlock) evict(g, group.oldest);
    if (is_planted(faults_, PlantedBug::kResetForgetsRunningOnes)) continue;
    for (Block& block : group.blocks) {
      if (block.node == PrefixTree::kNoNode) continue;
      tree_.set_block(block.node, g, kNoBlock);
      tree_.drop(block.node);
      block.node = PrefixTree::kNoNode;
    }
  }
  if (is_planted(faults_, PlantedBug::kResetForgetsRunningOnes)) return;
  for (Slot& slot : slots_) slot.findable = false;
}

bool KvPool::evict_oldest() {
  bool any = false;
  for (int64_t g = 0; g < num_groups(); ++g) {
    const int32_t oldest = groups_[static_cast<size_t>(g)].oldest;
    if (oldest == kNoBlock) continue;
    evict(g, oldest);
    any = true;
  }
  return any;
}

void KvPool::plant_double_free(int32_t slot) {
  if (table_end(slot, 0) > 0 && entry(slot, 0, 0) != kNoBlock) {
    groups_[0].free.push_back(entry(slot, 0, 0));
  }
}

}  // namespace quern
