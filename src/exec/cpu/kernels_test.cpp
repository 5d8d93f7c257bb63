// Every kernel of every level against plain loops in double precision, and level against level bit
// by bit where the bits are promised to be equal.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <numeric>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "base/cat.h"
#include "exec/cpu/isa.h"
#include "exec/cpu/kernel_table.h"
#include "exec/cpu/layout.h"
#include "exec/executor.h"
#include "program/steps/activate.h"
#include "program/steps/norm.h"

namespace quern::cpu {
namespace {

std::vector<float> random_values(size_t count, uint32_t seed, float spread = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, spread);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

/// Memory that begins on a 64-byte line, as the executor's arenas do.
class Aligned {
 public:
  explicit Aligned(int64_t bytes) : bytes_(static_cast<size_t>(bytes) + 64) {
    const auto address = reinterpret_cast<uintptr_t>(bytes_.data());
    start_ = bytes_.data() + (64 - address % 64) % 64;
  }
  std::byte* data() { return start_; }

 private:
  std::vector<std::byte> bytes_;
  std::byte* start_;
};

/// A matrix in one type, packed, with its exact values beside it.
struct Packed {
  Packed(DType dtype, int64_t rows, int64_t cols, uint32_t seed)
      : layout(*PanelLayout::of(dtype, cols)),
        num_rows(rows),
        num_cols(cols),
        panels(layout.matrix_bytes(rows)),
        values(static_cast<size_t>(rows * cols)) {
    const std::vector<float> source = random_values(values.size(), seed);
    const auto row_bytes = static_cast<size_t>(dtype.row_bytes(cols));
    std::vector<std::byte> stored(row_bytes * static_cast<size_t>(rows));
    for (int64_t r = 0; r < rows; ++r) {
      std::byte* row = stored.data() + static_cast<size_t>(r) * row_bytes;
      const auto count = static_cast<size_t>(cols);
      dtype.encode_row({source.data() + r * cols, count}, row);
      dtype.decode_row(row, {values.data() + r * cols, count});
    }
    for (int64_t p = 0; p < PanelLayout::num_panels(rows); ++p) {
      std::vector<const std::byte*> some;
      for (int64_t r = p * kPanelRows; r < std::min(rows, (p + 1) * kPanelRows); ++r) {
        some.push_back(stored.data() + static_cast<size_t>(r) * row_bytes);
      }
      layout.pack(some, panel(p));
    }
  }
  std::byte* panel(int64_t p) { return panels.data() + p * layout.panel_bytes(); }

  PanelLayout layout;
  int64_t num_rows, num_cols;
  Aligned panels;
  std::vector<float> values;
};

/// The int8 form of some rows, and the same numbers as plain rows.
struct Int8Rows {
  Int8Rows(const KernelTable& kernels, const std::vector<float>& x, int64_t tokens, int64_t cols)
      : q(static_cast<size_t>(tokens * cols)),
        scale(static_cast<size_t>(tokens * cols / 32)),
        neg_sum(scale.size()),
        neg_half_sum(2 * scale.size()),
        scaled_sum(scale.size()) {
    form.tokens = tokens;
    form.cols = cols;
    form.width = kernels.int8_shape(tokens).width;
    form.q = q.data();
    form.scale = scale.data();
    form.neg_sum = neg_sum.data();
    form.neg_half_sum = neg_half_sum.data();
    form.scaled_sum = scaled_sum.data();
    kernels.fill_int8(form, x.data(), cols, 0, tokens);
  }
  size_t place(int64_t token, int64_t block) const {
    const int64_t begin = token / form.width * form.width;
    const int64_t width = std::min(form.width, form.tokens - begin);
    return static_cast<size_t>(begin * (form.cols / 32) + block * width + token - begin);
  }

  std::vector<int8_t> q;
  std::vector<float> scale;
  size_t half_place(int64_t token, int64_t block, int64_t half) const {
    const int64_t begin = token / form.width * form.width;
    const int64_t width = std::min(form.width, form.tokens - begin);
    return static_cast<size_t>(begin * (form.cols / 16) + (2 * block + half) * width + token -
                               begin);
  }
  std::vector<int32_t> neg_sum, neg_half_sum;
  std::vector<float> scaled_sum;
  RowForm form;
};

/// The int8 form with one scale a token.
struct ScaledRows {
  ScaledRows(const KernelTable& kernels, const std::vector<float>& x, int64_t tokens, int64_t cols)
      : steps((cols + 63) / 64),
        q(tokens * steps * 64),
        scale(static_cast<size_t>(tokens)),
        neg_sum(static_cast<size_t>(tokens)) {
    std::memset(q.data(), 99, static_cast<size_t>(tokens * steps * 64));
    form.tokens = tokens;
    form.cols = cols;
    form.width = kernels.int8_rows_shape(tokens).width;
    form.q = reinterpret_cast<int8_t*>(q.data());
    form.scale = scale.data();
    form.neg_sum = neg_sum.data();
    // In two parts, as threads fill it.
    kernels.fill_int8_rows(form, x.data(), cols, 0, tokens / 2);
    kernels.fill_int8_rows(form, x.data(), cols, tokens / 2, tokens);
  }
  int at(int64_t token, int64_t k) const {
    const int64_t begin = token / form.width * form.width;
    const int64_t width = std::min(form.width, form.tokens - begin);
    return form.q[(begin * steps + k / 64 * width + token - begin) * 64 + k % 64];
  }

  int64_t steps;
  Aligned q;
  std::vector<float> scale;
  std::vector<int32_t> neg_sum;
  RowForm form;
};

/// All rows of `weight` times all tokens: [tokens][rows], through calls of `panels` panels.
std::vector<float> multiply(void (*kernel)(const MultiplyArgs&), Packed& weight,
                            const RowForm& form, int panels) {
  const int64_t num_panels = PanelLayout::num_panels(weight.num_rows);
  const int64_t stride = num_panels * kPanelRows;
  std::vector<float> sums(static_cast<size_t>(form.tokens * stride), NAN);
  for (int64_t p = 0; p < num_panels; p += panels) {
    MultiplyArgs args{};
    args.num_panels = static_cast<int>(std::min<int64_t>(panels, num_panels - p));
    for (int i = 0; i < args.num_panels; ++i) {
      args.panels[i] = weight.panel(p + i);
      args.next_panels[i] = weight.panel(p + i);
    }
    args.x = &form;
    args.sums = sums.data() + p * kPanelRows;
    args.sums_stride = stride;
    kernel(args);
  }
  std::vector<float> out(static_cast<size_t>(form.tokens * weight.num_rows));
  for (int64_t t = 0; t < form.tokens; ++t) {
    std::copy_n(sums.data() + t * stride, weight.num_rows, out.data() + t * weight.num_rows);
  }
  return out;
}

std::vector<float> multiply_int8(const KernelTable& kernels, Packed& weight,
                                 const std::vector<float>& x, int64_t tokens) {
  if (weight.layout.dtype().scales_rows()) {
    const ScaledRows rows(kernels, x, tokens, weight.num_cols);
    return multiply(kernels.multiply_int8[weight.layout.dtype().index()], weight, rows.form,
                    kernels.int8_rows_shape(tokens).panels);
  }
  const Int8Rows rows(kernels, x, tokens, weight.num_cols);
  return multiply(kernels.multiply_int8[weight.layout.dtype().index()], weight, rows.form,
                  kernels.int8_shape(tokens).panels);
}

/// With the activations as floats, or as pairs of bf16.
std::vector<float> multiply_float(const KernelTable& kernels, Packed& weight,
                                  const std::vector<float>& x, int64_t tokens,
                                  bool in_pairs = false) {
  RowForm form;
  form.tokens = tokens;
  form.cols = weight.num_cols;
  const TileShape shape = kernels.float_shape(tokens);
  form.width = shape.width;
  std::vector<float> tiled(static_cast<size_t>(tokens * form.cols));
  std::vector<uint32_t> pairs(static_cast<size_t>(tokens * ((form.cols + 1) / 2)));
  if (in_pairs) {
    kernels.fill_pairs(form, pairs.data(), x.data(), form.cols, 0, tokens);
    form.pairs = pairs.data();
    return multiply(kernels.multiply_pairs, weight, form, shape.panels);
  }
  kernels.fill_float(form, tiled.data(), x.data(), form.cols, 0, tokens);
  form.f32 = tiled.data();
  return multiply(kernels.multiply_float[weight.layout.dtype().index()], weight, form,
                  shape.panels);
}

void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b,
                      const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_EQ(std::bit_cast<uint32_t>(a[i]), std::bit_cast<uint32_t>(b[i]))
        << what << " at " << i << ": " << a[i] << " and " << b[i];
  }
}

const std::vector<int64_t> kTokenCounts = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                           11, 12, 13, 14, 15, 16, 17, 33, 64, 70};

class EveryLevel : public testing::TestWithParam<Isa> {
 protected:
  const KernelTable& kernels() const { return kernel_table(GetParam()); }
};
INSTANTIATE_TEST_SUITE_P(Isa, EveryLevel, testing::ValuesIn(available_isas()),
                         [](const auto& level) { return std::string(isa_name(level.param)); });

/// 32 values of a stored row: value i is scale[i * parts / 32] * w[i] + minimum.
struct BlockOf32 {
  int w[32];
  int parts = 1;
  float scale[2] = {};
  std::optional<float> minimum;
};

BlockOf32 block_of(DType dtype, const std::byte* row, int64_t b) {
  return visit_format(dtype.index(), [&]<typename Format>() {
    BlockOf32 block;
    if constexpr (Format::kBlockValues > 1) {
      constexpr int kBlocks = Format::kBlockValues / 32;
      Format stored;
      std::memcpy(&stored, row + b / kBlocks * static_cast<int64_t>(sizeof(Format)),
                  sizeof(Format));
      const int sub = static_cast<int>(b % kBlocks);
      for (int i = 0; i < 32; ++i) {
        const uint32_t four = stored.group(sub * 8 + i / 4);
        block.w[i] = static_cast<int>(four >> 8 * (i % 4) & 0xFF) - Format::kZero;
      }
      if constexpr (requires { stored.dmin; }) {
        block.scale[0] = half_to_float(stored.d) * stored.sub_scale(sub);
        block.minimum = -(half_to_float(stored.dmin) * stored.sub_minimum(sub));
      } else if constexpr (requires { stored.d; }) {
        block.parts = 2;
        for (int part = 0; part < 2; ++part) {
          block.scale[part] = half_to_float(stored.d) * stored.sub_scale(2 * sub + part);
        }
      } else {
        block.scale[0] = half_to_float(stored.scale);
        if constexpr (requires { stored.minimum; }) block.minimum = half_to_float(stored.minimum);
      }
    }
    return block;
  });
}

std::vector<DType> types_of_blocks() {
  std::vector<DType> types = DType::all();
  std::erase_if(types, [](DType dtype) { return dtype.block_values() == 1; });
  return types;
}

TEST_P(EveryLevel, Int8ProductsAreTheirDefinitionBitForBit) {
  for (const DType dtype : types_of_blocks()) {
    const int64_t block_values = dtype.block_values();
    for (const auto& [rows, blocks] : {std::pair<int64_t, int64_t>{37, 3}, {16, 1}, {130, 65}}) {
      const int64_t cols = block_values == 32 ? blocks * 32 : (blocks + 7) / 8 * block_values;
      const Packed weight(dtype, rows, cols, 7);
      // The definition, spelled out per output, from the values as the type stores them.
      const std::vector<float> source = random_values(weight.values.size(), 7);
      const auto row_bytes = static_cast<size_t>(dtype.row_bytes(cols));
      std::vector<BlockOf32> stored;
      std::vector<std::byte> row(row_bytes);
      for (int64_t r = 0; r < rows; ++r) {
        dtype.encode_row({source.data() + r * cols, static_cast<size_t>(cols)}, row.data());
        for (int64_t b = 0; b < cols / 32; ++b) stored.push_back(block_of(dtype, row.data(), b));
      }
      for (const int64_t tokens : kTokenCounts) {
        const std::vector<float> x = random_values(static_cast<size_t>(tokens * cols), 8);
        const Int8Rows form(kernels(), x, tokens, cols);
        Packed again = weight;
        const std::vector<float> out = multiply_int8(kernels(), again, x, tokens);
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t t = 0; t < tokens; ++t) {
            float acc = 0.0f;
            for (int64_t b = 0; b < cols / 32; ++b) {
              const BlockOf32& w = stored[static_cast<size_t>(r * (cols / 32) + b)];
              const size_t place = form.place(t, b);
              int32_t xsum = 0;
              for (int part = 0; part < w.parts; ++part) {
                int32_t isum = 0;
                for (int i = part * 32 / w.parts; i < (part + 1) * 32 / w.parts; ++i) {
                  const int32_t xq = form.q[place * 32 + static_cast<size_t>(i)];
                  isum += w.w[i] * xq;
                  xsum += xq;
                }
                acc = std::fma(static_cast<float>(isum), w.scale[part] * form.scale[place], acc);
              }
              if (w.minimum) {
                acc = std::fma(*w.minimum, form.scale[place] * static_cast<float>(xsum), acc);
              }
            }
            ASSERT_EQ(acc, out[static_cast<size_t>(t * rows + r)])
                << dtype.name() << " row " << r << " token " << t << " of " << tokens;
          }
        }
      }
    }
  }
}

TEST_P(EveryLevel, Int8ActivationsAreRoundedToNearestInBlocksOf32) {
  for (const int64_t tokens : {1, 5, 13}) {
    const int64_t cols = 160;
    std::vector<float> x = random_values(static_cast<size_t>(tokens * cols), 3);
    for (int i = 0; i < 32; ++i) x[static_cast<size_t>(i)] = 0.0f;  // a block of zeros
    x[40] = 1000.0f;                                                // an outlier
    for (int i = 64; i < 96; ++i) x[static_cast<size_t>(i)] = 1e-40f;
    const Int8Rows rows(kernels(), x, tokens, cols);
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t b = 0; b < cols / 32; ++b) {
        float amax = 0;
        const float* block = x.data() + t * cols + b * 32;
        for (int i = 0; i < 32; ++i) amax = std::max(amax, std::abs(block[i]));
        const float inverse = amax > 1e-36f ? 127.0f / amax : 0.0f;
        const size_t place = rows.place(t, b);
        ASSERT_EQ(rows.scale[place], amax / 127.0f);
        int sum = 0;
        for (int i = 0; i < 32; ++i) {
          const int q = rows.q[place * 32 + static_cast<size_t>(i)];
          ASSERT_EQ(q, static_cast<int>(std::nearbyint(block[i] * inverse)));
          sum += q;
        }
        ASSERT_EQ(rows.neg_sum[place], -sum);
        for (int half = 0; half < 2; ++half) {
          const auto first = rows.q.begin() + static_cast<int64_t>(place) * 32 + half * 16;
          ASSERT_EQ(rows.neg_half_sum[rows.half_place(t, b, half)],
                    -std::accumulate(first, first + 16, 0));
        }
        ASSERT_EQ(rows.scaled_sum[place], rows.scale[place] * static_cast<float>(sum));
      }
    }
  }
}

TEST_P(EveryLevel, ProductsOfScaledRowsAreTheirDefinitionBitForBit) {
  std::vector<int64_t> counts(40);
  std::iota(counts.begin(), counts.end(), 1);
  counts.insert(counts.end(), {63, 64, 70, 97});
  for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{37, 96},
                                   {16, 64},
                                   {5, 3},
                                   {65, 101},
                                   {130, 1090},
                                   {33, 4224}}) {
    const Packed weight(DType::of<W8A8>(), rows, cols, 7);
    const std::vector<float> source = random_values(weight.values.size(), 7);
    const auto width = static_cast<size_t>(cols);
    for (const int64_t tokens : counts) {
      const std::vector<float> x = random_values(static_cast<size_t>(tokens) * width, 8);
      const ScaledRows form(kernels(), x, tokens, cols);
      Packed again = weight;
      const std::vector<float> out = multiply_int8(kernels(), again, x, tokens);
      for (int64_t r = 0; r < rows; ++r) {
        const std::span<const float> row(source.data() + r * cols, width);
        const float w_scale = W8A8::scale_of(row);
        std::vector<std::byte> w(width);
        W8A8::quantise(row, w_scale, w.data());
        for (int64_t t = 0; t < tokens; ++t) {
          int32_t isum = 0;
          for (int64_t k = 0; k < cols; ++k) {
            isum += static_cast<int8_t>(w[static_cast<size_t>(k)]) * form.at(t, k);
          }
          const float scale = w_scale * form.scale[static_cast<size_t>(t)];
          ASSERT_EQ(static_cast<float>(isum) * scale, out[static_cast<size_t>(t * rows + r)])
              << rows << " x " << cols << " row " << r << " token " << t << " of " << tokens;
        }
      }
    }
  }
}

TEST_P(EveryLevel, RowsOfActivationsAreRoundedToNearestEvenAgainstOneScale) {
  for (const int64_t tokens : {1, 5, 13, 33}) {
    for (const int64_t cols : {3, 64, 160, 201}) {
      std::vector<float> x = random_values(static_cast<size_t>(tokens * cols), 3);
      x[1] = 1000.0f;  // an outlier costs the others of its row their precision, here it may
      if (tokens > 1) std::fill_n(x.begin() + cols, cols, 0.0f);
      if (tokens > 5) std::fill_n(x.begin() + 2 * cols, cols, 1e-40f);
      const ScaledRows rows(kernels(), x, tokens, cols);
      for (int64_t t = 0; t < tokens; ++t) {
        const float* row = x.data() + t * cols;
        float amax = 0;
        for (int64_t k = 0; k < cols; ++k) amax = std::max(amax, std::abs(row[k]));
        const float inverse = amax > 1e-36f ? 127.0f / amax : 0.0f;
        ASSERT_EQ(rows.scale[static_cast<size_t>(t)], amax / 127.0f);
        int sum = 0;
        for (int64_t k = 0; k < cols; ++k) {
          ASSERT_EQ(rows.at(t, k), static_cast<int>(std::nearbyint(row[k] * inverse)));
          sum += rows.at(t, k);
        }
        for (int64_t k = cols; k < rows.steps * 64; ++k) ASSERT_EQ(rows.at(t, k), 0);
        ASSERT_EQ(rows.neg_sum[static_cast<size_t>(t)], -sum);
      }
    }
  }
}

TEST_P(EveryLevel, TheLongestRowsOfExtremeBytesDoNotOverflow) {
  const int64_t cols = W8A8::kMaxRowValues;
  const DType dtype = DType::of<W8A8>();
  const PanelLayout layout = *PanelLayout::of(dtype, cols);
  EXPECT_FALSE(PanelLayout::of(dtype, cols + 1).has_value());
  Aligned panel(layout.panel_bytes());
  std::vector<std::byte> row(static_cast<size_t>(dtype.row_bytes(cols)));
  for (const int w : {-128, 127}) {
    const float one = 1.0f;
    std::memcpy(row.data(), &one, sizeof(one));
    std::fill(row.begin() + sizeof(one), row.end(), static_cast<std::byte>(w));
    const std::vector<const std::byte*> rows(kPanelRows, row.data());
    layout.pack(rows, panel.data());
    for (const int64_t tokens : {1, 20}) {
      for (const float sign : {127.0f, -127.0f}) {
        const std::vector<float> x(static_cast<size_t>(tokens * cols), sign);
        const ScaledRows form(kernels(), x, tokens, cols);
        std::vector<float> sums(static_cast<size_t>(tokens * kPanelRows));
        MultiplyArgs args{};
        args.panels[0] = args.next_panels[0] = panel.data();
        args.num_panels = 1;
        args.x = &form.form;
        args.sums = sums.data();
        args.sums_stride = kPanelRows;
        kernels().multiply_int8[dtype.index()](args);
        const auto want = static_cast<float>(w) * sign * static_cast<float>(cols);
        for (const float sum : sums) ASSERT_EQ(sum, want);
      }
    }
  }
}

TEST_P(EveryLevel, ExtremeBytesDoNotSaturate) {
  // The largest products there are: weights of -128 and 127 against activations of +-127.
  const int64_t cols = 64, rows = 16;
  const PanelLayout layout = *PanelLayout::of(DType::of<Q8_0>(), cols);
  for (const int w : {-128, -127, 127}) {
    std::vector<Q8_0> stored(static_cast<size_t>(rows * cols / 32));
    for (Q8_0& block : stored) {
      block.scale = float_to_half(1.0f);
      std::fill_n(block.q, 32, static_cast<int8_t>(w));
    }
    std::vector<const std::byte*> pointers;
    for (int64_t r = 0; r < rows; ++r) {
      pointers.push_back(reinterpret_cast<const std::byte*>(stored.data() + r * cols / 32));
    }
    Aligned panel(layout.panel_bytes());
    layout.pack(pointers, panel.data());
    for (const float sign : {1.0f, -1.0f}) {
      const std::vector<float> x(static_cast<size_t>(cols), sign);
      const Int8Rows form(kernels(), x, 1, cols);
      std::vector<float> sums(16);
      MultiplyArgs args{};
      args.panels[0] = args.next_panels[0] = panel.data();
      args.num_panels = 1;
      args.x = &form.form;
      args.sums = sums.data();
      args.sums_stride = 16;
      kernels().multiply_int8[DType::of<Q8_0>().index()](args);
      const float block = static_cast<float>(w) * 127.0f * 32.0f * sign * (1.0f / 127.0f);
      for (const float sum : sums) EXPECT_NEAR(sum, 2 * block, 1e-3f * std::abs(block));
    }
  }
}

TEST_P(EveryLevel, NanAndInfinityInARowShowInItsProductsOnly) {
  const int64_t tokens = 9;
  for (const float bad : {NAN, INFINITY, -INFINITY}) {
    for (const DType dtype : DType::all()) {
      const int64_t cols = std::max<int64_t>(64, dtype.block_values());
      std::vector<float> x = random_values(static_cast<size_t>(tokens * cols), 5);
      x[static_cast<size_t>(3 * cols + 40)] = bad;
      Packed weight(dtype, 20, cols, 9);
      std::vector<std::vector<float>> outs = {multiply_float(kernels(), weight, x, tokens)};
      if (!dtype.is_float()) outs.push_back(multiply_int8(kernels(), weight, x, tokens));
      for (const auto& out : outs) {
        for (int64_t t = 0; t < tokens; ++t) {
          bool finite = true;
          for (int64_t r = 0; r < 20; ++r) {
            finite &= std::isfinite(out[static_cast<size_t>(t * 20 + r)]);
          }
          EXPECT_EQ(finite, t != 3) << dtype.name();
        }
      }
    }
  }
}

TEST_P(EveryLevel, FloatProductsAreOneFmaPerStepInOneLane) {
  for (const DType dtype : DType::all()) {
    const int64_t odd = dtype.block_values() == 1 ? 1 : 0;
    const int64_t block = std::max<int64_t>(32, dtype.block_values());
    for (const auto& [rows, cols] :
         {std::pair<int64_t, int64_t>{37, 3 * block + odd}, {65, 1056 / block * block - odd}}) {
      Packed weight(dtype, rows, cols, 17);
      for (const int64_t tokens : kTokenCounts) {
        const std::vector<float> x = random_values(static_cast<size_t>(tokens * cols), 18);
        const std::vector<float> out = multiply_float(kernels(), weight, x, tokens);
        for (int64_t t = 0; t < tokens; ++t) {
          for (int64_t r = 0; r < rows; ++r) {
            float acc = 0.0f;
            for (int64_t k = 0; k < cols; ++k) {
              acc = std::fma(weight.values[static_cast<size_t>(r * cols + k)],
                             x[static_cast<size_t>(t * cols + k)], acc);
            }
            ASSERT_EQ(acc, out[static_cast<size_t>(t * rows + r)])
                << dtype.name() << " row " << r << " token " << t << " of " << tokens;
          }
        }
      }
    }
  }
}

TEST(Levels, Bf16PairsAreCloseAndTheSameAloneAndInCompany) {
  const auto isas = available_isas();
  const auto isa = std::find(isas.begin(), isas.end(), Isa::kAvx512Bf16);
  if (isa == isas.end()) GTEST_SKIP() << "this CPU has no bf16 products";
  const KernelTable& kernels = kernel_table(*isa);
  const int64_t rows = 37, cols = 97;
  Packed weight(DType::of<BF16>(), rows, cols, 27);
  const std::vector<float> x = random_values(static_cast<size_t>(70 * cols), 28);
  std::vector<float> alone;
  for (int64_t t = 0; t < 70; ++t) {
    const std::vector<float> one(x.begin() + t * cols, x.begin() + (t + 1) * cols);
    const std::vector<float> out = multiply_float(kernels, weight, one, 1, true);
    alone.insert(alone.end(), out.begin(), out.end());
    for (int64_t r = 0; r < rows; ++r) {
      double want = 0, size = 0;
      for (int64_t k = 0; k < cols; ++k) {
        const double term = static_cast<double>(weight.values[static_cast<size_t>(r * cols + k)]) *
                            one[static_cast<size_t>(k)];
        want += term;
        size += std::abs(term);
      }
      EXPECT_NEAR(out[static_cast<size_t>(r)], want, size / 256);
    }
  }
  for (const int64_t tokens : kTokenCounts) {
    const std::vector<float> some(x.begin(), x.begin() + tokens * cols);
    expect_same_bits(multiply_float(kernels, weight, some, tokens, true),
                     {alone.begin(), alone.begin() + tokens * rows}, cat(tokens, " tokens"));
  }
}

struct Function {
  const char* name;
  int number;
  double (*exact)(double);
  double relative, absolute;  // error allowed
};
double exact_gelu(double x) { return 0.5 * x * std::erfc(-x * std::sqrt(0.5)); }
double exact_gelu_tanh(double x) {
  return x / (1 + std::exp(-2 * std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double exact_silu(double x) { return x / (1 + std::exp(-x)); }
const Function kFunctions[] = {
    {"exp", 0, std::exp, 1.2e-7, 3e-38},  // 2 ulp are 1.2e-7 to 2.4e-7
    {"tanh", 1, std::tanh, 2.5e-7, 0},
    {"gelu", 2, exact_gelu, 4e-7, 1e-7},
    {"gelu_tanh", 3, exact_gelu_tanh, 4e-7, 1e-7},
    {"silu", 4, exact_silu, 3e-7, 1e-7},
};

TEST_P(EveryLevel, FunctionsAreAccurate) {
  std::vector<float> x;
  for (int i = -88000; i <= 88000; ++i) x.push_back(static_cast<float>(i) * 1e-3f);
  for (float v = 1e-30f; v < 1.0f; v *= 1.7f) x.push_back(v), x.push_back(-v);
  std::vector<float> y(x.size());
  for (const Function& f : kFunctions) {
    kernels().apply(f.number, y.data(), x.data(), static_cast<int64_t>(x.size()));
    for (size_t i = 0; i < x.size(); ++i) {
      const double want = f.exact(x[i]);
      ASSERT_NEAR(y[i], want, f.relative * std::abs(want) + f.absolute) << f.name << " of " << x[i];
    }
  }
}

TEST_P(EveryLevel, ExpOfExtremesIsRight) {
  const std::vector<float> x = {-INFINITY, -1e30f,   -104.0f, -88.0f, 88.72283f, 88.73f,
                                1e30f,     INFINITY, NAN,     0.0f,   -0.0f};
  std::vector<float> y(x.size());
  kernels().apply(0, y.data(), x.data(), static_cast<int64_t>(x.size()));
  for (int i = 0; i < 4; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], 0.0f);
  EXPECT_TRUE(std::isfinite(y[4]));
  for (int i = 5; i < 8; ++i) EXPECT_EQ(y[static_cast<size_t>(i)], INFINITY);
  EXPECT_TRUE(std::isnan(y[8]));
  EXPECT_EQ(y[9], 1.0f);
  EXPECT_EQ(y[10], 1.0f);
}

TEST_P(EveryLevel, NormsMatchThePlainForm) {
  for (const int64_t width : {1, 7, 16, 64, 100, 576, 2048}) {
    const auto n = static_cast<size_t>(width);
    const std::vector<float> x = random_values(n, 1, 3.0f), weight = random_values(n, 2),
                             bias = random_values(n, 3);
    std::vector<float> want(n), got(n);
    const Matrix<float> out{want.data(), 1, width, width};
    const Matrix<const float> in{x.data(), 1, width, width};
    NormArgs args{.eps = 1e-5f, .weight_offset = 1.0f, .weight = weight.data(), .width = width};
    kernels().norm(args, got.data(), x.data());
    rms_norm(out, in, weight, 1.0f, 1e-5f);
    for (size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], want[i], 2e-6 * std::abs(want[i]) + 1e-6);

    args = {.is_layer_norm = true,
            .eps = 1e-5f,
            .weight = weight.data(),
            .bias = bias.data(),
            .width = width};
    kernels().norm(args, got.data(), x.data());
    layer_norm(out, in, weight, bias, 1e-5f);
    for (size_t i = 0; i < n; ++i) ASSERT_NEAR(got[i], want[i], 1e-5);
  }
}

TEST_P(EveryLevel, FinishAppliesBiasAndEpilogueToTheRowsThatExist) {
  const int64_t tokens = 3;
  constexpr int kWidth = 48, kOutWidth = 52;  // three panels
  const std::vector<float> sums = random_values(kWidth * 3, 1),
                           other = random_values(kWidth * 3, 2), bias = random_values(kWidth, 3),
                           other_bias = random_values(kWidth, 4),
                           add = random_values(kWidth * 3, 5);
  using Op = FinishArgs::Op;
  for (const int rows : {48, 41, 32, 16, 1, 9}) {
    for (const Op op : {Op::kStore, Op::kAdd, Op::kActivate, Op::kActivateGated, Op::kSoftCap}) {
      std::vector<float> out(kOutWidth * 3, 99.0f);
      FinishArgs args;
      args.op = op;
      args.function = FinishArgs::Function::kGeluTanh;
      args.softcap = 2.0f;
      args.tokens = tokens;
      args.rows = rows;
      args.sums = sums.data();
      args.other_sums = other.data();
      args.sums_stride = kWidth;
      args.bias = bias.data();
      args.other_bias = other_bias.data();
      args.add = add.data();
      args.add_stride = kWidth;
      args.out = out.data();
      args.out_stride = kOutWidth;
      kernels().finish(args);
      for (int64_t t = 0; t < tokens; ++t) {
        for (int r = 0; r < kOutWidth; ++r) {
          const float got = out[static_cast<size_t>(t * kOutWidth + r)];
          if (r >= rows) {
            ASSERT_EQ(got, 99.0f);
            continue;
          }
          const auto i = static_cast<size_t>(t * kWidth + r), j = static_cast<size_t>(r);
          const float y = sums[i] + bias[j];
          float want = y;
          if (op == Op::kAdd) want = add[i] + y;
          if (op == Op::kActivate) want = activate(Activation::kGeluTanh, y);
          if (op == Op::kActivateGated) {
            want = activate(Activation::kGeluTanh, y) * (other[i] + other_bias[j]);
          }
          if (op == Op::kSoftCap) want = 2.0f * std::tanh(y / 2.0f);
          ASSERT_NEAR(got, want, 1e-6 + 1e-6 * std::abs(want));
        }
      }
    }
  }
}

TEST_P(EveryLevel, ArgMaxTakesTheFirstOfEqualsAndNeverNan) {
  for (const int64_t n : {1, 5, 16, 17, 100, 1000}) {
    std::vector<float> x = random_values(static_cast<size_t>(n), 11);
    const auto want = std::max_element(x.begin(), x.end()) - x.begin();
    EXPECT_EQ(kernels().arg_max(x.data(), n), want);
    for (float& v : x) v = 1.5f;
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    if (n > 1) {
      x[0] = NAN;
      EXPECT_EQ(kernels().arg_max(x.data(), n), 1);
    }
    std::fill(x.begin(), x.end(), NAN);
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    std::fill(x.begin(), x.end(), -INFINITY);
    EXPECT_EQ(kernels().arg_max(x.data(), n), 0);
    x[static_cast<size_t>(n - 1)] = -3.0f;
    EXPECT_EQ(kernels().arg_max(x.data(), n), n - 1);
    EXPECT_EQ(kernels().next_above(x.data(), -4.0f, 0, n), n - 1);
    EXPECT_EQ(kernels().next_above(x.data(), -3.0f, 0, n), n);
  }
}

// --- keys and values ---

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

TEST_P(EveryLevel, KeysAndValuesAreKeptAsTheirTypeRoundsThem) {
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

TEST_P(EveryLevel, AttentionOverStoredBlocksHasTheBitsOfAttentionOverWidenedOnes) {
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

TEST_P(EveryLevel, AttentionOverASegmentIsWhatItsFormulaSays) {
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

TEST(Levels, GiveTheSameBits) {
  const KernelTable& first = kernel_table(Isa::kAvx2);
  for (const Isa isa : available_isas()) {
    const KernelTable& other = kernel_table(isa);
    const std::string name(isa_name(isa));
    for (const int64_t n : {7, 64, 100, 2048}) {
      const auto count = static_cast<size_t>(n);
      const std::vector<float> x = random_values(count, 21, 4.0f),
                               weight = random_values(count, 22);
      std::vector<float> a(count), b(count);
      for (const Function& f : kFunctions) {
        first.apply(f.number, a.data(), x.data(), n);
        other.apply(f.number, b.data(), x.data(), n);
        expect_same_bits(a, b, cat(name, " ", f.name));
      }
      for (const bool layer : {false, true}) {
        const NormArgs args{.is_layer_norm = layer,
                            .eps = 1e-6f,
                            .weight = weight.data(),
                            .bias = nullptr,
                            .width = n};
        first.norm(args, a.data(), x.data());
        other.norm(args, b.data(), x.data());
        expect_same_bits(a, b, name + " norm");
      }
      const std::vector<float> cos = random_values(count / 2, 23),
                               sin = random_values(count / 2, 24);
      a = b = x;
      first.rotate(a.data(), cos.data(), sin.data(), n / 2);
      other.rotate(b.data(), cos.data(), sin.data(), n / 2);
      expect_same_bits(a, b, name + " rotate");
    }
    for (const DType dtype :
         {DType::of<Q8_0>(), DType::of<Q4_0>(), DType::of<Q4_1>(), DType::of<W8A8>()}) {
      Packed weight(dtype, 50, 2080, 31);
      for (const int64_t tokens : {1, 6, 17}) {
        const std::vector<float> x = random_values(static_cast<size_t>(tokens * 2080), 32);
        expect_same_bits(multiply_int8(first, weight, x, tokens),
                         multiply_int8(other, weight, x, tokens), name);
      }
    }
    for (const DType dtype : kv_types(first)) {
      for (const int64_t size : head_dims(dtype)) {
        expect_same_bits(Segment(first, dtype, size, 3).attend(first, false),
                         Segment(other, dtype, size, 3).attend(other, false),
                         cat(name, " attention over ", dtype.name()));
      }
    }
  }
}

TEST(Panels, DecodeToTheValuesOfTheirType) {
  for (const DType dtype : DType::all()) {
    for (const int64_t rows : {1, 16, 21}) {
      const int64_t cols = dtype.block_values() == 1 ? 65 : 3 * dtype.block_values();
      Packed weight(dtype, rows, cols, 41);
      std::vector<float> row(static_cast<size_t>(cols));
      for (int64_t r = 0; r < rows; ++r) {
        weight.layout.decode_row(weight.panel(r / kPanelRows), static_cast<int>(r % kPanelRows),
                                 row);
        expect_same_bits(row,
                         {weight.values.begin() + r * cols, weight.values.begin() + (r + 1) * cols},
                         std::string(dtype.name()));
      }
    }
  }
  EXPECT_FALSE(PanelLayout::of(DType::of<Q4_0>(), 48).has_value());
}

TEST(Isa, AutoIsAvailableAndUnknownNamesAreRefused) {
  const auto chosen = choose_isa("auto");
  ASSERT_TRUE(chosen.has_value());
  const auto isas = available_isas();
  EXPECT_NE(std::find(isas.begin(), isas.end(), *chosen), isas.end());
  EXPECT_EQ(choose_isa("sse9").error().code, ErrorCode::kUsage);
  const Error refused = choose_isa("avx512fp16").error();
  EXPECT_EQ(refused.code, ErrorCode::kUnsupported);
  EXPECT_NE(refused.message.find("avx2"), std::string::npos);
}

}  // namespace
}  // namespace quern::cpu
