#pragma once

#include <cstdint>
#include <span>

#include "tensor/matrix.h"

namespace quern {

/// Tokens of one KV block, on every executor. Divides the softmax segment of 128 keys.
inline constexpr int32_t kKvBlockTokens = 32;
/// Keys of one softmax segment: partial results are formed per segment and merged in ascending
/// order, so that neither chunks nor threads can change the bits.
inline constexpr int32_t kSoftmaxSegment = 128;
/// In a block table: the window has moved past this block, it is not held any more.
inline constexpr int32_t kNoBlock = -1;

/// A row whose outcome the engine wants.
struct RowWish {
  enum class What {
    kLogits,  // the whole row
    kArgMax,  // the id of the largest logit, ties to the lower id
    kTopK,    // the k largest with their logits, best first, ties to the lower id
  };

  int32_t row = 0;  // of the batch, 0 .. T-1
  What what = What::kLogits;
  int32_t k = 0;
};

/// The blocks of each sequence in one KV group: blocks[s * stride + position / kKvBlockTokens].
struct BlockTable {
  const int32_t* blocks = nullptr;
  int64_t stride = 0;

  int32_t block(int64_t sequence, int64_t position) const {
    return blocks[sequence * stride + position / kKvBlockTokens];
  }
};

/// One step as flat arrays: S ranges of tokens, one per sequence; a decoding sequence is a range of
/// one. All spans belong to the engine and live until wait() returns.
struct Batch {
  std::span<const int32_t> token_ids;    // [T]
  std::span<const int32_t> positions;    // [A, T]; A is 1 but for multimodal rotary embeddings
  int32_t position_axes = 1;             // A
  std::span<const int32_t> query_start;  // [S + 1], range s is [query_start[s], query_start[s+1])
  std::span<const int32_t> context_len;  // [S] keys in the cache once this step has appended
  std::span<const BlockTable> block_tables;  // one per KV group of the Program
  std::span<const int32_t> adapter_ids;      // [S], -1: none
  std::span<const RowWish> wishes;           // ascending rows, each row at most once

  int64_t num_tokens() const { return static_cast<int64_t>(token_ids.size()); }
  int64_t num_sequences() const { return static_cast<int64_t>(context_len.size()); }
};

struct TokenLogit {
  int32_t token_id = 0;
  float logit = 0;
};

/// What a step gives for each wish, in the order of the wishes. Valid until the next submit().
struct StepResult {
  /// Wish i: its logits [V] where What::kLogits was wished (row i of the matrix).
  Matrix<const float> logits;
  /// Wish i: its best tokens, best first: one for kArgMax, k for kTopK, none for kLogits.
  std::span<const std::span<const TokenLogit>> best;
};

}  // namespace quern
