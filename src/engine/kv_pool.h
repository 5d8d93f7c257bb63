#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/faults.h"
#include "engine/prefix_tree.h"
#include "exec/batch.h"

namespace quern {

/// Why a prompt did not find more of its prefix in the cache.
enum class MissReason {
  kNone,           // all of it was there but the last token, which is always computed
  kBlockBoundary,  // all whole blocks were there; the rest does not fill one
  kDiverged,       // what is cached continues otherwise, from PrefixMatch::diverged_at on
  kEvicted,        // it was there once, its blocks were needed for something else
  kOtherSalt,      // it is there for another tenant; for operators only, never for a client
  kNotCacheable,   // the request wants something of every prompt token
  kOff,            // the prefix cache is off
};
std::string_view miss_reason_name(MissReason reason);

/// What the cache has of a prompt.
struct PrefixMatch {
  int64_t tokens = 0;
  MissReason reason = MissReason::kOff;
  int64_t diverged_at = 0;  // with kDiverged: the first token that differs
};

/// The blocks of one KV group of the Program.
struct KvGroupSize {
  int64_t num_blocks = 0;
  int64_t window = 0;  // 0: the whole context
};

/// The most blocks one sequence of `tokens` holds at once in a group of that window while a step
/// computes up to `chunk` tokens of it.
int64_t worst_case_blocks(int64_t window, int64_t tokens, int64_t chunk);

struct KvPoolOptions {
  std::vector<KvGroupSize> groups = {};
  int64_t max_sequences = 0;
  int64_t max_model_len = 0;
  bool prefix_caching = true;
  /// Of each group's blocks that may be cached under one salt: beyond it the salt's own oldest go.
  double max_salt_share = 1;
  uint64_t hash_key = 0;
  Faults* faults = nullptr;
};

struct KvPoolStats {
  int64_t evictions = 0;
  int64_t window_frees = 0;       // blocks the window has moved past
  int64_t shared_with_owner = 0;  // hits on a block that a running sequence holds
  int64_t merged = 0;             // own blocks given up for equal ones somebody else had computed
  int64_t ran_out = 0;            // reservations refused
  int64_t over_share = 0;         // evictions because a salt had its share
};

/// Which sequence holds which KV block. Integers only: it never sees a key or a value.
///
/// A sequence has a slot with one block table per group. A block is free, held by one or more
/// slots, or cached: held by none, still found through the prefix tree, evicted oldest first. A
/// block is written by the one slot that holds it until it is full; then it may be shared and is
/// never written again. A group with a window gives up blocks as the window moves past them, and a
/// prefix can be used if each group has the blocks that the next token will look at.
///
/// All memory is taken at construction.
class KvPool {
 public:
  static constexpr int64_t kMaxSaltBytes = 320;  // 256 of a request and what a server adds

  explicit KvPool(KvPoolOptions options);

  /// Opens the table of a free slot with as many cached blocks of `tokens` as there are, but at
  /// most `max_cached` tokens. `salt` separates tenants: equal prefixes of different salts share
  /// nothing.
  PrefixMatch open(int32_t slot, std::span<const int32_t> tokens, std::string_view salt,
                   int64_t max_cached);
  /// Sees to it that positions up to `end` have blocks, in groups without a window up to
  /// `whole_end`. Does nothing and returns false if some group lacks blocks.
  bool reserve(int32_t slot, int64_t end, int64_t whole_end);
  /// The largest end up to which reserve() could go now, at most `end`.
  int64_t reservable_end(int32_t slot, int64_t end) const;
  /// Says that the first `computed` of `tokens` have their keys and values: full blocks can be
  /// found from now on, and windows let go what no later token looks at.
  void commit(int32_t slot, std::span<const int32_t> tokens, int64_t computed);
  /// Gives all blocks of the slot back; those that can be found stay cached.
  void close(int32_t slot);

  /// Whether the blocks that the slot fills can be found by others.
  bool will_be_found(int32_t slot) const { return slots_[static_cast<size_t>(slot)].findable; }
  /// The blocks of positions 0, 32, 64, .. ; kNoBlock where the window has moved on.
  std::span<const int32_t> table(int32_t slot, int64_t group) const;
  int64_t num_groups() const { return static_cast<int64_t>(groups_.size()); }
  int64_t max_table_blocks() const { return stride_; }
  int64_t num_blocks(int64_t group) const { return size_of(group).num_blocks; }
  int64_t window(int64_t group) const { return size_of(group).window; }
  int64_t num_free(int64_t group) const;
  int64_t num_cached(int64_t group) const;
  /// Blocks that a reservation could get: free or cached.
  int64_t num_available(int64_t group) const { return num_free(group) + num_cached(group); }
  const KvPoolStats& stats() const { return stats_; }

  /// Nothing that has been computed up to now is found any more: cached blocks become free ones,
  /// who holds blocks keeps them, but neither these nor those that continue them will be found.
  void forget_prefixes();
  /// Drops the oldest cached block of each group; false if there was none.
  bool evict_oldest();
  /// Blocks of the group that a prompt could find. Slow, for tests.
  int64_t num_findable(int64_t group) const;
  /// Whether nobody else can read or write the block of this position.
  bool is_private(int32_t slot, int64_t group, int64_t position) const;
  /// Recounts everything: nothing if the pool is sound, else what is wrong. Slow, for tests.
  std::optional<std::string> check() const;
  /// As if a cancelled sequence had given its first block back once already.
  void plant_double_free(int32_t slot);

  static int64_t bytes(const KvPoolOptions& options);

 private:
  struct Block {
    int32_t references = 0;
    int32_t node = PrefixTree::kNoNode;  // of the prefix tree, if the block can be found
    int32_t older = kNoBlock;            // in the list of cached blocks
    int32_t newer = kNoBlock;
    int32_t salt = PrefixTree::kNoNode;  // of a block that can be found: the node of its salt
    int32_t older_of_salt = kNoBlock;    // in the list of the cached blocks of that salt
    int32_t newer_of_salt = kNoBlock;
  };
  /// The cached blocks of one salt in one group.
  struct SaltList {
    int32_t oldest = kNoBlock;
    int32_t newest = kNoBlock;
    int64_t num_cached = 0;
  };
  struct Group {
    KvGroupSize size;
    std::vector<Block> blocks;
    std::vector<int32_t> free;  // a stack
    int32_t oldest = kNoBlock;  // of the cached ones
    int32_t newest = kNoBlock;
    int64_t num_cached = 0;
    int64_t max_cached_of_salt = 0;
  };
  struct Slot {
    bool open = false;
    bool findable = false;  // full blocks go into the tree
    int32_t node = PrefixTree::kNoNode;
    int32_t salt = PrefixTree::kNoNode;  // the node of its salt, which `node` is or lies below
    int64_t num_full = 0;                // blocks of the path that `node` stands for
  };

  const KvGroupSize& size_of(int64_t group) const {
    return groups_[static_cast<size_t>(group)].size;
  }
  static int64_t max_nodes(const KvPoolOptions& options);
  int64_t first_needed(int64_t group, int64_t position) const;
  int32_t& entry(int32_t slot, int64_t group, int64_t idx);
  int32_t entry(int32_t slot, int64_t group, int64_t idx) const;
  int64_t& table_end(int32_t slot, int64_t group);
  int64_t table_end(int32_t slot, int64_t group) const;

  int32_t salt_node(std::string_view salt) const;
  int32_t hold_salt_node(std::string_view salt);
  PrefixMatch match(int32_t from, std::span<const int32_t> tokens, int64_t max_cached);
  PrefixMatch explain(PrefixMatch match, std::span<const int32_t> tokens, int64_t num_path,
                      int64_t num_usable, int64_t max_cached) const;
  void share(int32_t slot, int64_t num_full);
  void make_findable(int32_t slot, std::span<const int32_t> tokens);

  int32_t take(int64_t group);
  void hold(int64_t group, int32_t block);
  void release(int64_t group, int32_t block);
  void evict(int64_t group, int32_t block);
  void unlink_cached(int64_t group, int32_t block);
  bool shares_by_salt() const { return !salt_lists_.empty(); }
  SaltList& salt_list(int64_t group, int32_t salt);
  void link_to_salt(int64_t group, int32_t block);
  void unlink_from_salt(int64_t group, int32_t block);
  std::optional<std::string> check_salts(int64_t group) const;

  Faults* faults_;
  bool prefix_caching_;
  int64_t max_sequences_;
  int64_t stride_;  // entries of one table
  std::vector<Group> groups_;
  std::vector<Slot> slots_;
  std::vector<int32_t> tables_;      // [slots, groups, stride]
  std::vector<int64_t> table_ends_;  // [slots, groups] entries in use, those given up included
  PrefixTree tree_;
  /// [nodes, groups], of use where the node is that of a salt; empty if a salt may have all. A
  /// list that holds a block keeps its node alive, so a new node always finds an empty one.
  std::vector<SaltList> salt_lists_;
  std::vector<int32_t> path_;  // scratch: the nodes of a match
  /// Path hashes of evicted blocks, each at its own place: only to explain misses.
  std::vector<uint64_t> evicted_;
  /// Hash of a first block's tokens, and the salt it was last stored under: only to explain.
  struct SaltMark {
    uint64_t tokens = 0;
    uint64_t salt = 0;
  };
  std::vector<SaltMark> salt_marks_;
  KvPoolStats stats_;
};

}  // namespace quern
