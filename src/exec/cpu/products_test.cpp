// The products of every level against plain loops, and level against level bit by bit.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "base/cat.h"
#include "exec/cpu/kernels_testing.h"
#include "exec/cpu/layout.h"

namespace quern::cpu {
namespace {

class ProductsOfEveryLevel : public EveryLevel {};
INSTANTIATE_TEST_SUITE_P(Isa, ProductsOfEveryLevel, testing::ValuesIn(available_isas()),
                         level_name);

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
  const int64_t some = tokens / 3;  // whoever fills may stop and begin within a tile
  if (in_pairs) {
    kernels.fill_pairs(form, pairs.data(), x.data(), form.cols, 0, some);
    kernels.fill_pairs(form, pairs.data(), x.data(), form.cols, some, tokens);
    form.pairs = pairs.data();
    return multiply(kernels.multiply_pairs, weight, form, shape.panels);
  }
  kernels.fill_float(form, tiled.data(), x.data(), form.cols, 0, some);
  kernels.fill_float(form, tiled.data(), x.data(), form.cols, some, tokens);
  form.f32 = tiled.data();
  return multiply(kernels.multiply_float[weight.layout.dtype().index()], weight, form,
                  shape.panels);
}

const std::vector<int64_t> kTokenCounts = {1,  2,  3,  4,  5,  6,  7,  8,  9,  10,
                                           11, 12, 13, 14, 15, 16, 17, 33, 64, 70};

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

TEST_P(ProductsOfEveryLevel, Int8ProductsAreTheirDefinitionBitForBit) {
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

TEST_P(ProductsOfEveryLevel, Int8ActivationsAreRoundedToNearestInBlocksOf32) {
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

TEST_P(ProductsOfEveryLevel, ProductsOfScaledRowsAreTheirDefinitionBitForBit) {
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

TEST_P(ProductsOfEveryLevel, RowsOfActivationsAreRoundedToNearestEvenAgainstOneScale) {
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

TEST_P(ProductsOfEveryLevel, TheLongestRowsOfExtremeBytesDoNotOverflow) {
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

TEST_P(ProductsOfEveryLevel, ExtremeBytesDoNotSaturate) {
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

TEST_P(ProductsOfEveryLevel, NanAndInfinityInARowShowInItsProductsOnly) {
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

TEST_P(ProductsOfEveryLevel, FloatProductsAreOneFmaPerStepInOneLane) {
  for (const DType dtype : DType::all()) {
    const int64_t odd = dtype.block_values() == 1 ? 1 : 0;
    const int64_t block = std::max<int64_t>(32, dtype.block_values());
    for (const auto& [rows, cols] : {std::pair<int64_t, int64_t>{37, 3 * block + odd},
                                     {65, 1056 / block * block - odd},
                                     {16, odd == 1 ? 1 : block}}) {
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
  const int64_t rows = 37;
  for (const int64_t cols : {1, 6, 97, 1057}) {  // the last has more than two slices
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
          const double term =
              static_cast<double>(weight.values[static_cast<size_t>(r * cols + k)]) *
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
}

TEST(Levels, GiveTheSameBitsOfProducts) {
  const KernelTable& first = kernel_table(Isa::kAvx2);
  for (const Isa isa : available_isas()) {
    const KernelTable& other = kernel_table(isa);
    const std::string name(isa_name(isa));
    for (const DType dtype :
         {DType::of<Q8_0>(), DType::of<Q4_0>(), DType::of<Q4_1>(), DType::of<W8A8>()}) {
      Packed weight(dtype, 50, 2080, 31);
      for (const int64_t tokens : {1, 6, 17}) {
        const std::vector<float> x = random_values(static_cast<size_t>(tokens * 2080), 32);
        expect_same_bits(multiply_int8(first, weight, x, tokens),
                         multiply_int8(other, weight, x, tokens), name);
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

}  // namespace
}  // namespace quern::cpu
