// Attention of every level against its formula, stored keys and values against what their type
// means, and level against level bit by bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <string>
#include <vector>

#include "base/cat.h"
#include "exec/cpu/kernels_testing.h"
#include "exec/executor.h"

namespace quern::cpu {
namespace {

class AttentionOfEveryLevel : public EveryLevel {};
INSTANTIATE_TEST_SUITE_P(Isa, AttentionOfEveryLevel, testing::ValuesIn(available_isas()),
                         level_name);

std::vector<DType> kv_types(const KernelTable& kernels) {
  std::vector<DType> types = DType::all();
  std::erase_if(types, [&](DType dtype) { return kernels.kv[dtype.index()].attend == nullptr; });
  return types;
}

/// Head sizes that a type can divide: what a level does with the rest of a vector is among them.
std::vector<int64_t> head_dims(DType dtype) {
  std::vector<int64_t> sizes = {8, 24, 32, 48, 64, 80, 96, 128, 256};
  std::erase_if(sizes, [&](int64_t size) { return !dtype.fits_row(size); });
  return sizes;
}

/// One head's cache block, filled token by token, and what it means: keys [32][Dh], values alike.
struct KvBlock {
  KvBlock(const KernelTable& kernels, DType type, int64_t size, const std::vector<float>& k,
          const std::vector<float>& v)
      : dtype(type),
        head_dim(size),
        dh16((size + 15) / 16 * 16),
        keys(32 * type.row_bytes(size)),
        values(32 * type.row_bytes(dh16)) {
    for (int64_t t = 0; t < 32; ++t) {
      kernels.kv[type.index()].append(keys.data(), values.data(), t, k.data() + t * size,
                                      v.data() + t * size, size);
    }
  }
  /// As type f32: keys [Dh][32], values [32][Dh16].
  void widen(const KernelTable& kernels, Aligned& wide_keys, Aligned& wide_values) {
    kernels.kv[dtype.index()].widen(reinterpret_cast<float*>(wide_keys.data()),
                                    reinterpret_cast<float*>(wide_values.data()), keys.data(),
                                    values.data(), head_dim);
  }

  DType dtype;
  int64_t head_dim, dh16;
  Aligned keys, values;
};

/// Rows of many kinds: of all sizes, zeros, ties of the roundings, numbers that are none.
std::vector<float> odd_rows(int64_t cols, uint32_t seed) {
  std::vector<float> x = random_values(static_cast<size_t>(32 * cols), seed);
  for (int64_t t = 0; t < 32; ++t) {
    float* const row = x.data() + t * cols;
    const float size = std::ldexp(1.0f, static_cast<int>(t * 9 % 80) - 40);
    for (int64_t d = 0; d < cols; ++d) {
      if (t % 3 == 0) row[d] *= size;
      if (t % 3 == 1) row[d] = std::nearbyint(row[d] * 40) / 2 * (t % 2 == 0 ? 1.0f : 0x1p-9f);
    }
    if (t == 5) std::fill_n(row, cols, 0.0f);
    if (t == 7) std::fill_n(row, cols, -0.0f);
    if (t == 9) std::fill_n(row, cols, -3.0f);
    if (t == 11) row[3] = 1e9f, row[5] = -1e9f;  // beyond every bound, the first of equals positive
    if (t == 13) row[1] = -1e30f, row[2] = 1e30f;
    if (t == 15) row[6] = INFINITY, row[7] = -INFINITY;
    if (t == 17) row[2] = NAN;
    if (t == 19) std::fill_n(row, cols, NAN);
    if (t == 21) std::fill_n(row, cols, 1e-40f);
    if (t == 23) row[4] = 127.0f, row[0] = -0.5f, row[1] = 0.5f, row[2] = 1.5f, row[3] = -126.5f;
  }
  return x;
}

TEST_P(AttentionOfEveryLevel, KeysAndValuesAreKeptAsTheirTypeRoundsThem) {
  for (const DType dtype : kv_types(kernels())) {
    const float bound = kv_bound(dtype);
    for (const int64_t size : head_dims(dtype)) {
      const std::vector<float> k = odd_rows(size, 51), v = odd_rows(size, 52);
      KvBlock block(kernels(), dtype, size, k, v);
      Aligned keys(32 * size * 4), values(32 * block.dh16 * 4);
      block.widen(kernels(), keys, values);
      const auto* const wide_keys = reinterpret_cast<const float*>(keys.data());
      const auto* const wide_values = reinterpret_cast<const float*>(values.data());
      const auto means = [&](const float* row) {
        std::vector<float> x(row, row + size);
        for (float& value : x) value = std::clamp(value, -bound, bound);
        std::vector<std::byte> stored(static_cast<size_t>(dtype.row_bytes(size)));
        dtype.encode_row(x, stored.data());
        dtype.decode_row(stored.data(), x);
        return x;
      };
      const auto same = [](float a, float b) {
        return (std::isnan(a) && std::isnan(b)) ||
               std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
      };
      for (int64_t t = 0; t < 32; ++t) {
        const std::vector<float> key = means(k.data() + t * size),
                                 value = means(v.data() + t * size);
        for (int64_t d = 0; d < block.dh16; ++d) {
          const float got = wide_values[t * block.dh16 + d];
          const float want = d < size ? value[static_cast<size_t>(d)] : 0.0f;
          ASSERT_TRUE(same(got, want))
              << dtype.name() << " value " << t << " " << d << ": " << got << " for " << want;
          if (d >= size) continue;
          ASSERT_TRUE(same(wide_keys[d * 32 + t], key[static_cast<size_t>(d)]))
              << dtype.name() << " key " << t << " " << d << ": " << wide_keys[d * 32 + t]
              << " for " << key[static_cast<size_t>(d)];
        }
      }
    }
  }
}

/// Some query rows against a segment of four blocks; the first rows look at all keys, others at
/// some.
struct Segment {
  explicit Segment(const KernelTable& kernels, DType dtype, int64_t size, int num_rows)
      : rows(num_rows), q(random_values(static_cast<size_t>(num_rows * size), 61)) {
    for (uint32_t b = 0; b < 4; ++b) {
      k.push_back(random_values(static_cast<size_t>(32 * size), 62 + b));
      v.push_back(random_values(static_cast<size_t>(32 * size), 72 + b));
      blocks.emplace_back(kernels, dtype, size, k.back(), v.back());
    }
    for (int r = 0; r < rows; ++r) {
      pointers.push_back(q.data() + r * size);
      first.push_back(r % 3 == 2 ? 5 * r : 0);
      last.push_back(r % 3 == 0 ? 127 : r == 4 ? -1 : 40 + 13 * r);
    }
  }
  /// largest, sum, then acc of every row.
  std::vector<float> attend(const KernelTable& kernels, bool widened) {
    const int64_t size = blocks[0].head_dim, dh16 = blocks[0].dh16;
    AttendArgs args{};
    std::vector<Aligned> wide;
    wide.reserve(8);
    for (size_t b = 0; b < 4; ++b) {
      args.keys[b] = blocks[b].keys.data();
      args.values[b] = blocks[b].values.data();
      if (!widened) continue;
      Aligned& wide_keys = wide.emplace_back(32 * size * 4);
      Aligned& wide_values = wide.emplace_back(32 * dh16 * 4);
      blocks[b].widen(kernels, wide_keys, wide_values);
      args.keys[b] = wide_keys.data();
      args.values[b] = wide_values.data();
    }
    std::copy_n(args.keys, 4, args.next_keys);
    args.rows = rows;
    args.q = pointers.data();
    args.first = first.data();
    args.last = last.data();
    args.head_dim = size;
    args.scale = 0.2f;
    std::vector<float> out(static_cast<size_t>(rows * (2 + dh16)));
    args.largest = out.data();
    args.sum = out.data() + rows;
    args.acc = out.data() + 2 * rows;
    const DType dtype = widened ? DType::of<F32>() : blocks[0].dtype;
    kernels.kv[dtype.index()].attend(args);
    return out;
  }

  int rows;
  std::vector<float> q;
  std::vector<std::vector<float>> k, v;  // of each block [32][Dh], not rounded
  std::vector<KvBlock> blocks;
  std::vector<const float*> pointers;
  std::vector<int32_t> first, last;
};

TEST_P(AttentionOfEveryLevel, AttentionOverStoredBlocksHasTheBitsOfAttentionOverWidenedOnes) {
  for (const DType dtype : kv_types(kernels())) {
    for (const int64_t size : head_dims(dtype)) {
      std::vector<float> first_row;
      for (int rows = 1; rows <= kernels().max_attend_rows; ++rows) {
        Segment segment(kernels(), dtype, size, rows);
        const std::string name = cat(dtype.name(), " of ", size, ", ", rows, " rows");
        const std::vector<float> out = segment.attend(kernels(), false);
        expect_same_bits(out, segment.attend(kernels(), true), name);
        // The first row knows nothing of the others.
        std::vector<float> row = {out[0], out[static_cast<size_t>(rows)]};
        row.insert(row.end(), out.begin() + 2 * rows, out.begin() + 2 * rows + size);
        if (rows == 1) first_row = row;
        expect_same_bits(first_row, row, name);
      }
    }
  }
}

TEST_P(AttentionOfEveryLevel, AttentionOverASegmentIsWhatItsFormulaSays) {
  for (const DType dtype : kv_types(kernels())) {
    for (const int64_t size : head_dims(dtype)) {
      Segment segment(kernels(), dtype, size, kernels().max_attend_rows);
      const std::vector<float> out = segment.attend(kernels(), false);
      const int64_t dh16 = segment.blocks[0].dh16;
      const auto decoded = [&](const std::vector<float>& rows, int64_t token) {
        std::vector<float> x(rows.begin() + token * size, rows.begin() + (token + 1) * size);
        std::vector<std::byte> stored(static_cast<size_t>(dtype.row_bytes(size)));
        dtype.encode_row(x, stored.data());
        dtype.decode_row(stored.data(), x);
        return x;
      };
      for (int r = 0; r < segment.rows; ++r) {
        const auto row = static_cast<size_t>(r);
        if (segment.last[row] < 0) {
          EXPECT_EQ(out[static_cast<size_t>(segment.rows + r)], 0.0f);
          continue;
        }
        std::vector<double> scores, acc(static_cast<size_t>(size));
        for (int32_t key = segment.first[row]; key <= segment.last[row]; ++key) {
          const std::vector<float> k = decoded(segment.k[static_cast<size_t>(key / 32)], key % 32);
          double score = 0;
          for (int64_t d = 0; d < size; ++d) {
            score += static_cast<double>(k[static_cast<size_t>(d)]) * segment.pointers[row][d];
          }
          scores.push_back(0.2 * score);
        }
        const double top = *std::max_element(scores.begin(), scores.end());
        double sum = 0;
        for (size_t i = 0; i < scores.size(); ++i) {
          const int32_t key = segment.first[row] + static_cast<int32_t>(i);
          const double p = std::exp(scores[i] - top);
          const std::vector<float> v = decoded(segment.v[static_cast<size_t>(key / 32)], key % 32);
          sum += p;
          for (size_t d = 0; d < v.size(); ++d) acc[d] += p * static_cast<double>(v[d]);
        }
        EXPECT_NEAR(out[row], top, 1e-5) << dtype.name() << " " << size;
        EXPECT_NEAR(out[static_cast<size_t>(segment.rows + r)], sum, 1e-5 * sum);
        for (int64_t d = 0; d < size; ++d) {
          ASSERT_NEAR(out[static_cast<size_t>(2 * segment.rows + r * dh16 + d)],
                      acc[static_cast<size_t>(d)], 1e-4)
              << dtype.name() << " " << size << " row " << r;
        }
      }
    }
  }
}

TEST(Levels, GiveTheSameBitsOfAttention) {
  const KernelTable& first = kernel_table(Isa::kAvx2);
  for (const Isa isa : available_isas()) {
    const KernelTable& other = kernel_table(isa);
    const std::string name(isa_name(isa));
    for (const DType dtype : kv_types(first)) {
      for (const int64_t size : head_dims(dtype)) {
        expect_same_bits(Segment(first, dtype, size, 3).attend(first, false),
                         Segment(other, dtype, size, 3).attend(other, false),
                         cat(name, " attention over ", dtype.name()));
      }
    }
  }
}

}  // namespace
}  // namespace quern::cpu
