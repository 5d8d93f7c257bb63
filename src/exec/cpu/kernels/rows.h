// Kernels over rows of fp32: norms, elementwise functions, rotation, the end of a product, and the
// search for the largest values. Lanes beyond a row's end are never stored.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/tiles.h"
#include "exec/cpu/kernels/vector_math.h"

namespace quern::cpu {
namespace {

/// Calls body(offset, count) for each 16 values of n, count 16 but for the last.
template <typename Body>
inline __attribute__((always_inline)) void for_lanes(int64_t n, const Body& body) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) body(i, kLanes);
  if (i < n) body(i, n - i);
}
inline F load_some(const float* p, int64_t n) { return n == kLanes ? load(p) : load_first(p, n); }
inline void store_some(float* p, F x, int64_t n) {
  if (n == kLanes) {
    store(p, x);
  } else {
    store_first(p, x, n);
  }
}

/// Sum over i of term(i) in four interleaved vectors, joined as (0 + 1) + (2 + 3), then lanes.
template <typename Term>
inline __attribute__((always_inline)) float sum_terms(const float* x, int64_t n, const Term& add) {
  F sums[4] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sums[j] = add(load(x + i + j * kLanes), sums[j], kLanes);
  }
  for (int j = 0; i < n; i += kLanes, ++j) {
    const int64_t count = n - i < kLanes ? n - i : kLanes;
    sums[j] = add(load_some(x + i, count), sums[j], count);
  }
  return sum_lanes((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

inline float square_root(float x) { return _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(x))); }

/// rms:   out = x * (1 / sqrt(mean(x^2) + eps)) * (weight + offset)
/// layer: out = (x - mean) * (1 / sqrt(var + eps)) * weight + bias
/// `out` may be `x`.
void norm(const NormArgs& args, float* out, const float* x) {
  const int64_t n = args.width;
  const auto width = static_cast<float>(n);
  if (!args.is_layer_norm) {
    const float squares = sum_terms(x, n, [](F v, F sum, int64_t) { return fma(v, v, sum); });
    const F factor = all(1.0f / square_root(squares / width + args.eps));
    const F offset = all(args.weight_offset);
    for_lanes(n, [&](int64_t i, int64_t count) {
      const F weight = load_some(args.weight + i, count) + offset;
      store_some(out + i, load_some(x + i, count) * factor * weight, count);
    });
    return;
  }
  const F mean = all(sum_terms(x, n, [](F v, F sum, int64_t) { return sum + v; }) / width);
  const float variance = sum_terms(x, n, [&](F v, F sum, int64_t count) {
    F centred = v - mean;
    if (count < kLanes) centred = select(first_lanes(count), centred, all(0.0f));
    return fma(centred, centred, sum);
  });
  const F factor = all(1.0f / square_root(variance / width + args.eps));
  for_lanes(n, [&](int64_t i, int64_t count) {
    F y = (load_some(x + i, count) - mean) * factor * load_some(args.weight + i, count);
    if (args.bias != nullptr) y = y + load_some(args.bias + i, count);
    store_some(out + i, y, count);
  });
}

void add_rows(float* out, const float* a, const float* b, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) {
    store_some(out + i, load_some(a + i, count) + load_some(b + i, count), count);
  });
}

void scale_row(float* x, float factor, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) {
    store_some(x + i, load_some(x + i, count) * all(factor), count);
  });
}

inline F activation(FinishArgs::Function function, F x) {
  switch (function) {
    case FinishArgs::Function::kGelu:
      return gelu(x);
    case FinishArgs::Function::kGeluTanh:
      return gelu_tanh(x);
    case FinishArgs::Function::kSilu:
      break;
  }
  return silu(x);
}

void activate_row(FinishArgs::Function function, float* out, const float* x, const float* gate,
                  int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) {
    F y = activation(function, load_some(x + i, count));
    if (gate != nullptr) y = y * load_some(gate + i, count);
    store_some(out + i, y, count);
  });
}

/// (a, b) -> (a cos - b sin, b cos + a sin); products and sums rounded one by one, as the plain
/// form beside the step does.
void rotate_head(float* x, const float* cos, const float* sin, int64_t half) {
  for_lanes(half, [&](int64_t i, int64_t count) {
    const F a = load_some(x + i, count), b = load_some(x + half + i, count);
    const F c = load_some(cos + i, count), s = load_some(sin + i, count);
    store_some(x + i, a * c - b * s, count);
    store_some(x + half + i, b * c + a * s, count);
  });
}

/// 16 rows or fewer of one token.
inline F finished(const FinishArgs& args, int64_t t, int64_t row, int64_t rows) {
  F y = load(args.sums + t * args.sums_stride + row);
  if (args.bias != nullptr) y = y + load_some(args.bias + row, rows);
  switch (args.op) {
    case FinishArgs::Op::kStore:
      return y;
    case FinishArgs::Op::kAdd:
      return load_some(args.add + t * args.add_stride + row, rows) + y;
    case FinishArgs::Op::kActivate:
      return activation(args.function, y);
    case FinishArgs::Op::kActivateGated: {
      F other = load(args.other_sums + t * args.sums_stride + row);
      if (args.other_bias != nullptr) other = other + load_some(args.other_bias + row, rows);
      return activation(args.function, y) * other;
    }
    case FinishArgs::Op::kSoftCap:
      break;
  }
  return soft_cap(y, args.softcap);
}
void finish(const FinishArgs& args) {
  for (int64_t t = 0; t < args.tokens; ++t) {
    for_lanes(args.rows, [&](int64_t row, int64_t rows) {
      store_some(args.out + t * args.out_stride + row, finished(args, t, row, rows), rows);
    });
  }
}

// --- forms of activation rows ---

/// Where token t's values begin in a tiled form, and how far apart its steps are.
struct TilePlace {
  int64_t first = 0;  // index of step 0
  int64_t step = 1;   // distance between steps
};
inline TilePlace tile_place(const RowForm& form, int64_t token, int64_t steps) {
  const int64_t tile = token / form.width;
  const int64_t begin = tile * form.width;
  const int64_t rest = form.tokens - begin;
  return {begin * steps + (token - begin), rest < form.width ? rest : form.width};
}

/// Calls body(from, count, to, distance) for 16 values at a time (count at a row's end) of the
/// tokens [begin, end), which go to steps of a tiled form: value k of the 16 belongs to step
/// k / kValuesPerStep behind `to`, steps being `distance` apart. The tokens of a tile take turns,
/// because they fill the same lines, with runs that memory is read in well.
template <int kValuesPerStep, typename Body>
inline __attribute__((always_inline)) void for_tiled_values(const RowForm& form, const float* x,
                                                            int64_t stride, int64_t begin,
                                                            int64_t end, const Body& body) {
  constexpr int64_t kRun = 128;
  const int64_t steps = (form.cols + kValuesPerStep - 1) / kValuesPerStep;
  while (begin < end) {
    const TilePlace place = tile_place(form, begin, steps);
    const int64_t rest = form.width - begin % form.width;
    const int64_t tokens = rest < end - begin ? rest : end - begin;
    for (int64_t run = 0; run < form.cols; run += kRun) {
      const int64_t values = form.cols - run < kRun ? form.cols - run : kRun;
      for (int64_t t = 0; t < tokens; ++t) {
        for_lanes(values, [&](int64_t i, int64_t count) {
          const int64_t k = run + i;
          body(x + (begin + t) * stride + k, count,
               place.first + t + k / kValuesPerStep * place.step, place.step);
        });
      }
    }
    begin += tokens;
  }
}

void fill_float(const RowForm& form, float* out, const float* x, int64_t stride, int64_t begin,
                int64_t end) {
  for_tiled_values<1>(form, x, stride, begin, end,
                      [&](const float* from, int64_t count, int64_t to, int64_t distance) {
                        for (int64_t i = 0; i < count; ++i) out[to + i * distance] = from[i];
                      });
}

/// Per block of 32: amax; scale = amax / 127; q = round to nearest even of x * (127 / amax). A
/// block with a NaN or an infinity gets a scale that is one, so that its products show it; one
/// whose amax is below 1e-36 gets q = 0, because 127 / amax would overflow.
void fill_int8(const RowForm& form, const float* x, int64_t stride, int64_t begin, int64_t end) {
  const int64_t blocks = form.cols / 32;
  for (int64_t t = begin; t < end; ++t) {
    const TilePlace place = tile_place(form, t, blocks);
    const TilePlace halves = tile_place(form, t, 2 * blocks);
    const float* row = x + t * stride;
    for (int64_t b = 0; b < blocks; ++b, row += 32) {
      const int64_t at = place.first + b * place.step;
      const F low = load(row), high = load(row + kLanes);
      // As integers, magnitudes are in the same order and NaN is above all.
      const I magnitude = all_int(0x7FFFFFFF);
      const F largest = as_float(max(as_int(low) & magnitude, as_int(high) & magnitude));
      // Lanes that are NaN win an integer maximum, so lanes are compared as integers here too.
      const float amax = max_magnitude_lanes(largest);
      const float inverse = amax > 1e-36f ? 127.0f / amax : 0.0f;
      const F factor = all(inverse);
      const I bound = all_int(127), neg_bound = all_int(-127);
      const I q_low = max(min(round_to_int(low * factor), bound), neg_bound);
      const I q_high = max(min(round_to_int(high * factor), bound), neg_bound);
      store_low_bytes(form.q + at * 32, q_low);
      store_low_bytes(form.q + at * 32 + kLanes, q_high);
      const int32_t low_sum = sum_int_lanes(q_low), high_sum = sum_int_lanes(q_high);
      const int32_t sum = low_sum + high_sum;
      int32_t* const half_sums = form.neg_half_sum + halves.first + b * 2 * halves.step;
      half_sums[0] = -low_sum;
      half_sums[halves.step] = -high_sum;
      const float scale = amax / 127.0f;
      form.scale[at] = scale;
      form.neg_sum[at] = -sum;
      form.scaled_sum[at] = scale * static_cast<float>(sum);
    }
  }
}

/// The same with one scale for the whole row, which is filled up with zeros to steps of 64.
void fill_int8_rows(const RowForm& form, const float* x, int64_t stride, int64_t begin,
                    int64_t end) {
  const int64_t steps = (form.cols + 63) / 64;
  const I magnitude = all_int(0x7FFFFFFF);
  const I bound = all_int(127), neg_bound = all_int(-127);
  for (int64_t t = begin; t < end; ++t) {
    const TilePlace place = tile_place(form, t, steps);
    const float* row = x + t * stride;
    I largest = all_int(0);
    for_lanes(form.cols, [&](int64_t k, int64_t count) {
      largest = max(largest, as_int(load_some(row + k, count)) & magnitude);
    });
    const float amax = max_magnitude_lanes(as_float(largest));
    const F factor = all(amax > 1e-36f ? 127.0f / amax : 0.0f);
    I sums = all_int(0);
    for (int64_t k = 0; k < steps * 64; k += kLanes) {
      I q = all_int(0);
      if (k < form.cols) {
        const int64_t count = form.cols - k < kLanes ? form.cols - k : kLanes;
        q = max(min(round_to_int(load_some(row + k, count) * factor), bound), neg_bound);
      }
      store_low_bytes(form.q + (place.first + k / 64 * place.step) * 64 + k % 64, q);
      sums = sums + q;
    }
    form.scale[t] = amax / 127.0f;
    form.neg_sum[t] = -sum_int_lanes(sums);
  }
}

/// Rounds to bf16 and joins neighbours; an odd last value is joined with 0.
void fill_pairs(const RowForm& form, uint32_t* out, const float* x, int64_t stride, int64_t begin,
                int64_t end) {
  for_tiled_values<2>(form, x, stride, begin, end,
                      [&](const float* from, int64_t count, int64_t to, int64_t distance) {
                        alignas(64) uint32_t pairs[kLanes / 2];
                        store_low_halves(reinterpret_cast<uint16_t*>(pairs),
                                         to_bf16_bits(load_some(from, count)));
                        for (int64_t i = 0; 2 * i < count; ++i) out[to + i * distance] = pairs[i];
                      });
}

// --- results ---

int64_t arg_max(const float* x, int64_t n) {
  // Each lane keeps its own first best; then the best lane, ties to the lower place. `less` is
  // false for NaN on either side, so a NaN is never taken.
  F best = all(-kInfinity);
  I place = all_int(-1);
  alignas(64) int32_t lane_numbers[kLanes] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
  const I lanes = load_int(lane_numbers);
  for (int64_t i = 0; i + kLanes <= n; i += kLanes) {
    const F v = load(x + i);
    const M better = less(best, v);
    best = select(better, v, best);
    place = select(better, lanes + all_int(static_cast<int32_t>(i)), place);
  }
  alignas(64) float values[kLanes];
  alignas(64) int32_t places[kLanes];
  store(values, best);
  store(reinterpret_cast<float*>(places), as_float(place));
  float best_value = -kInfinity;
  int64_t best_place = -1;
  for (int i = 0; i < kLanes; ++i) {
    if (places[i] < 0) continue;
    const bool better = best_place < 0 || values[i] > best_value ||
                        (values[i] == best_value && places[i] < best_place);
    if (better) {
      best_value = values[i];
      best_place = places[i];
    }
  }
  for (int64_t i = n - n % kLanes; i < n; ++i) {
    if (x[i] > best_value) {
      best_value = x[i];
      best_place = i;
    }
  }
  // Nothing above -inf: the first place, as good as any.
  return best_place < 0 ? 0 : best_place;
}

int64_t next_above(const float* x, float bound, int64_t begin, int64_t n) {
  int64_t i = begin;
  for (; i + kLanes <= n; i += kLanes) {
    const uint32_t found = bits(less(all(bound), load(x + i)));
    if (found != 0) return i + __builtin_ctz(found);
  }
  for (; i < n; ++i) {
    if (x[i] > bound) return i;
  }
  return n;
}

void apply_function(int function, float* out, const float* x, int64_t n) {
  for_lanes(n, [&](int64_t i, int64_t count) {
    const F v = load_some(x + i, count);
    F y = v;
    if (function == 0) y = exp(v);
    if (function == 1) y = tanh(v);
    if (function == 2) y = gelu(v);
    if (function == 3) y = gelu_tanh(v);
    if (function == 4) y = silu(v);
    store_some(out + i, y, count);
  });
}

}  // namespace
}  // namespace quern::cpu
