// Attention over one softmax segment: 128 keys at absolute positions, in blocks of 32 tokens as
// kv_types.h reads them. Up to kAttendRows query rows share every read.
//
// Order, for each row by itself: a score is one FMA per d, ascending, in the key's lane; keys that
// the row does not look at become -inf by selection; the largest; exp(score - largest); their sum
// in 16 lanes, vectors ascending, then the lanes; values are added by one FMA per key, ascending,
// over exactly the keys the row looks at. So a row's bits do not depend on the rows beside it.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/kv_types.h"
#include "exec/cpu/kernels/rows.h"

namespace quern::cpu {
namespace {

constexpr int kSegmentKeys = 128;

#if defined(__AVX512F__)
constexpr int kAttendRows = 6;
constexpr int kAttendBlocks = 2;   // 6 rows x 4 vectors of keys: 24 of 32 registers
constexpr int kAttendVectors = 4;  // 6 rows x 4 vectors of a value
#else
constexpr int kAttendRows = 3;
constexpr int kAttendBlocks = 1;  // 3 rows x 2 vectors (4 registers): 12 of 16
constexpr int kAttendVectors = 2;
#endif

/// scores[r][key] = q[r] . keys[key] for `Blocks` whole blocks.
template <typename Kv, int R, int Blocks>
inline void score_blocks(const AttendArgs& args, int block, float (*scores)[kSegmentKeys]) {
  F acc[R][2 * Blocks];
  QUERN_UNROLL
  for (int r = 0; r < R; ++r) {
    QUERN_UNROLL
    for (int j = 0; j < 2 * Blocks; ++j) acc[r][j] = all(0.0f);
  }
  const std::byte* lines[Blocks];
  int64_t ahead[Blocks];  // from the line that is read to one that will be
  QUERN_UNROLL
  for (int j = 0; j < Blocks; ++j) {
    lines[j] = args.keys[block + j];
    ahead[j] = args.values[block + j] - lines[j];
  }
  const float* q[R];
  alignas(64) float q_units[R][Kv::kUnit != 1.0f ? 32 : 1];
  alignas(64) float scales[Blocks][Kv::kScaleRows > 0 ? Kv::kScaleRows * kBlockTokens : 1];
  // Channels that share scales, or queries in units, or else all.
  const bool grouped = Kv::kScaleRows > 0 || Kv::kUnit != 1.0f;
  const int64_t group = grouped && args.head_dim > 32 ? 32 : args.head_dim;
  for (int64_t begin = 0; begin < args.head_dim; begin += group) {
    const int64_t rest = args.head_dim - begin;
    const int64_t count = rest < group ? rest : group;
    for (int r = 0; r < R; ++r) {
      q[r] = args.q[r] + begin;
      if constexpr (Kv::kUnit != 1.0f) {
        for_lanes(count, [&](int64_t d, int64_t lanes) {
          store(q_units[r] + d, load_some(q[r] + d, lanes) * all(Kv::kUnit));
        });
        q[r] = q_units[r];
      }
    }
    if constexpr (Kv::kScaleRows > 0) {
      for (int j = 0; j < Blocks; ++j) {
        Kv::read_scales(lines[j] + 32 / Kv::kSteps * Kv::kLineBytes, scales[j]);
      }
    }
    for (int64_t d = 0; d < count; d += Kv::kSteps) {
      const auto add_channel = [&](auto number) __attribute__((always_inline)) {
        constexpr int step = decltype(number)::kValue;
        F k[2 * Blocks];
        QUERN_UNROLL
        for (int j = 0; j < Blocks; ++j) Kv::template keys<step>(lines[j], scales[j], k + 2 * j);
        QUERN_UNROLL
        for (int r = 0; r < R; ++r) {
          const F x = all(q[r][d + step]);
          QUERN_UNROLL
          for (int j = 0; j < 2 * Blocks; ++j) acc[r][j] = fma(x, k[j], acc[r][j]);
        }
      };
      add_channel(Number<0>());
      if constexpr (Kv::kSteps == 2) {
        // With 16 registers the second channel must not be begun before the first is done with.
        if (kFloatRegisters == 16) __asm__ volatile("" ::: "memory");
        add_channel(Number<1>());
      }
      QUERN_UNROLL
      for (int j = 0; j < Blocks; ++j) {
        _mm_prefetch(reinterpret_cast<const char*>(lines[j] + ahead[j]), _MM_HINT_T0);
        lines[j] += Kv::kLineBytes;
      }
    }
    if constexpr (Kv::kScaleRows > 0) {
      for (int j = 0; j < Blocks; ++j) lines[j] += kScaleBytes;
    }
  }
  QUERN_UNROLL
  for (int r = 0; r < R; ++r) {
    QUERN_UNROLL
    for (int j = 0; j < 2 * Blocks; ++j) {
      store(&scores[r][block * kBlockTokens + j * kLanes], acc[r][j]);
    }
  }
}

/// Scores of one row to weights, in place: exp(score - largest), 0 for keys not looked at, times
/// the unit of the values.
template <typename Kv>
inline void weigh_row(const AttendArgs& args, int row, float* scores) {
  const int32_t first = args.first[row], last = args.last[row];
  const int32_t begin = first / kLanes * kLanes;
  F largest = all(-kInfinity);
  for (int32_t i = begin; i <= last; i += kLanes) {
    F s = load(scores + i) * all(args.scale);
    if (args.softcap > 0) s = soft_cap(s, args.softcap);
    if (i < first || i + kLanes > last + 1) {
      const int32_t count = last + 1 - i < kLanes ? last + 1 - i : kLanes;
      s = select(first_lanes(count), s, all(-kInfinity));
      if (i < first) s = select(first_lanes(first - i), all(-kInfinity), s);
    }
    store(scores + i, s);
    largest = max(largest, s);
  }
  const float top = max_lanes(largest);
  F sum = all(0.0f);
  for (int32_t i = begin; i <= last; i += kLanes) {
    const F p = exp(load(scores + i) - all(top));
    store(scores + i, Kv::kUnit != 1.0f ? p * all(Kv::kUnit) : p);
    sum = sum + p;
  }
  args.largest[row] = top;
  args.sum[row] = sum_lanes(sum);
}

/// acc[r][16 * (at .. at + N)] += sum over keys [begin, end) of weights[r][key] * values[key].
template <typename Kv, int R, int N>
inline void add_values(const AttendArgs& args, int row, int32_t begin, int32_t end, int64_t dh16,
                       int64_t at, const float (*weights)[kSegmentKeys]) {
  F acc[R][N];
  QUERN_UNROLL
  for (int r = 0; r < R; ++r) {
    QUERN_UNROLL
    for (int j = 0; j < N; ++j) acc[r][j] = load(args.acc + (row + r) * dh16 + at + j * kLanes);
  }
  const float(*w)[kSegmentKeys] = weights + row;
  alignas(64) float scales[(N + 1) / 2][Kv::kScaleRows > 0 ? Kv::kScaleRows * kBlockTokens : 1];
  const int64_t row_bytes = dh16 * Kv::kValueBytes / 32;
  for (int32_t key = begin; key < end;) {
    const int32_t block = key / kBlockTokens;
    const int32_t stop = (block + 1) * kBlockTokens < end ? (block + 1) * kBlockTokens : end;
    const std::byte* const values = args.values[block];
    if constexpr (Kv::kScaleRows > 0) {
      const std::byte* const halves = values + kBlockTokens * row_bytes + at / 32 * kScaleBytes;
      for (int j = 0; j < N / 2; ++j) Kv::read_scales(halves + j * kScaleBytes, scales[j]);
    }
    const std::byte* value = values + key % kBlockTokens * row_bytes + at * Kv::kValueBytes / 32;
    const int64_t ahead = args.next_keys[block] - values;
    for (; key < stop; ++key, value += row_bytes) {
      F v[N];
      if constexpr (N == 1) {
        v[0] = Kv::load16(value);
      } else {
        QUERN_UNROLL
        for (int j = 0; j < N / 2; ++j) {
          Kv::values(value + j * Kv::kValueBytes, scales[j] + key % kBlockTokens, v + 2 * j);
        }
      }
      for (int64_t line = 0; line < N * Kv::kValueBytes / 2; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(value + ahead + line), _MM_HINT_T0);
      }
      QUERN_UNROLL
      for (int r = 0; r < R; ++r) {
        const F p = all(w[r][key]);
        QUERN_UNROLL
        for (int j = 0; j < N; ++j) acc[r][j] = fma(p, v[j], acc[r][j]);
      }
    }
  }
  QUERN_UNROLL
  for (int r = 0; r < R; ++r) {
    QUERN_UNROLL
    for (int j = 0; j < N; ++j) store(args.acc + (row + r) * dh16 + at + j * kLanes, acc[r][j]);
  }
}

template <typename Kv, int R>
void add_all_values(const AttendArgs& args, int row, int32_t begin, int32_t end, int64_t dh16,
                    const float (*weights)[kSegmentKeys]) {
  if (begin >= end) return;
  int64_t at = 0;
  for (; at + kAttendVectors * kLanes <= dh16; at += kAttendVectors * kLanes) {
    add_values<Kv, R, kAttendVectors>(args, row, begin, end, dh16, at, weights);
  }
#if defined(__AVX512F__)
  if (at + 2 * kLanes <= dh16) {
    add_values<Kv, R, 2>(args, row, begin, end, dh16, at, weights);
    at += 2 * kLanes;
  }
#endif
  if constexpr (Kv::kScaleRows == 0) {  // the others have whole 32 channels
    if (at < dh16) add_values<Kv, R, 1>(args, row, begin, end, dh16, at, weights);
  }
}

template <typename Kv, int R>
void attend_rows(const AttendArgs& args) {
  const int64_t dh16 = (args.head_dim + 15) / 16 * 16;
  alignas(64) float scores[R][kSegmentKeys];
  int32_t first = kSegmentKeys, last = -1;         // keys that any row looks at
  int32_t all_first = 0, all_last = kSegmentKeys;  // keys that all rows look at
  for (int r = 0; r < R; ++r) {
    if (args.first[r] > all_first) all_first = args.first[r];
    if (args.last[r] < all_last) all_last = args.last[r];
    if (args.last[r] < args.first[r]) continue;
    if (args.first[r] < first) first = args.first[r];
    if (args.last[r] > last) last = args.last[r];
  }
  for (int64_t i = 0; i < R * dh16; i += kLanes) store(args.acc + i, all(0.0f));
  int block = first / kBlockTokens;
  const int end_block = last / kBlockTokens + 1;
  if (last < 0) block = end_block;  // no row looks at any key
  for (; block + kAttendBlocks <= end_block; block += kAttendBlocks) {
    score_blocks<Kv, R, kAttendBlocks>(args, block, scores);
  }
  for (; block < end_block; ++block) score_blocks<Kv, R, 1>(args, block, scores);

  for (int r = 0; r < R; ++r) {
    if (args.last[r] < args.first[r]) {
      args.largest[r] = -kInfinity;
      args.sum[r] = 0.0f;
    } else {
      weigh_row<Kv>(args, r, scores[r]);
    }
  }
  if (all_first > all_last) {
    for (int r = 0; r < R; ++r) {
      add_all_values<Kv, 1>(args, r, args.first[r], args.last[r] + 1, dh16, scores);
    }
    return;
  }
  for (int r = 0; r < R; ++r) {
    add_all_values<Kv, 1>(args, r, args.first[r], all_first, dh16, scores);
  }
  add_all_values<Kv, R>(args, 0, all_first, all_last + 1, dh16, scores);
  for (int r = 0; r < R; ++r) {
    add_all_values<Kv, 1>(args, r, all_last + 1, args.last[r] + 1, dh16, scores);
  }
}

template <typename Kv, int... R>
inline void attend_of_rows(const AttendArgs& args) {
  using Attend = void (*)(const AttendArgs&);
  static constexpr Attend kAttends[] = {attend_rows<Kv, R>...};
  kAttends[args.rows - 1](args);
}

template <typename Kv>
void attend(const AttendArgs& args) {
#if defined(__AVX512F__)
  attend_of_rows<Kv, 1, 2, 3, 4, 5, 6>(args);
#else
  attend_of_rows<Kv, 1, 2, 3>(args);
#endif
}

/// m' = max(m, ms); acc' = acc exp(m - m') + acc_s exp(ms - m'), the sum alike.
void merge(float* largest, float* sum, float* acc, float segment_largest, float segment_sum,
           const float* segment_acc, int64_t dh16) {
  const float top = *largest > segment_largest ? *largest : segment_largest;
  const F old_factor = exp(all(*largest - top)), new_factor = exp(all(segment_largest - top));
  *largest = top;
  for (int64_t i = 0; i < dh16; i += kLanes) {
    store(acc + i, fma(load(acc + i), old_factor, load(segment_acc + i) * new_factor));
  }
  alignas(64) float lanes[kLanes];
  store(lanes, fma(all(*sum), old_factor, all(segment_sum) * new_factor));
  *sum = lanes[0];
}

void divide(float* out, const float* acc, float sum, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) {
    store_some(out + i, load_some(acc + i, count) / all(sum), count);
  });
}

template <typename Kv>
inline void put_lanes(float* p, const F* lanes) {
  store(p, lanes[0] * all(Kv::kUnit));
  store(p + kLanes, lanes[1] * all(Kv::kUnit));
}

/// One head's block as the block of type f32 that means the same.
template <typename Kv>
void widen(float* keys, float* values, const std::byte* stored_keys, const std::byte* stored_values,
           int64_t head_dim) {
  alignas(64) float scales[Kv::kScaleRows > 0 ? Kv::kScaleRows * kBlockTokens : 1];
  F lanes[2];
  const std::byte* line = stored_keys;
  for (int64_t d = 0; d < head_dim; d += Kv::kSteps) {
    if constexpr (Kv::kScaleRows > 0) {
      if (d % 32 == 0) {
        if (d > 0) line += kScaleBytes;
        Kv::read_scales(line + 32 / Kv::kSteps * Kv::kLineBytes, scales);
      }
    }
    const auto put = [&](auto number) {
      constexpr int step = decltype(number)::kValue;
      Kv::template keys<step>(line, scales, lanes);
      put_lanes<Kv>(keys + (d + step) * kBlockTokens, lanes);
    };
    put(Number<0>());
    if constexpr (Kv::kSteps == 2) put(Number<1>());
    line += Kv::kLineBytes;
  }

  const int64_t dh16 = (head_dim + 15) / 16 * 16;
  const int64_t row_bytes = dh16 * Kv::kValueBytes / 32;
  int64_t at = 0;
  for (; at + 32 <= dh16; at += 32) {
    if constexpr (Kv::kScaleRows > 0) {
      Kv::read_scales(stored_values + kBlockTokens * row_bytes + at / 32 * kScaleBytes, scales);
    }
    for (int token = 0; token < kBlockTokens; ++token) {
      Kv::values(stored_values + token * row_bytes + at / 32 * Kv::kValueBytes, scales + token,
                 lanes);
      put_lanes<Kv>(values + token * dh16 + at, lanes);
    }
  }
  if constexpr (Kv::kScaleRows == 0) {
    for (int token = 0; token < kBlockTokens && at < dh16; ++token) {
      const std::byte* const last = stored_values + token * row_bytes + at * Kv::kValueBytes / 32;
      store(values + token * dh16 + at, Kv::load16(last) * all(Kv::kUnit));
    }
  }
}

}  // namespace
}  // namespace quern::cpu
