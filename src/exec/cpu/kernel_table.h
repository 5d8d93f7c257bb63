#pragma once

#include <cstddef>
#include <cstdint>

#include "exec/cpu/isa.h"
#include "exec/cpu/panels.h"

namespace quern::cpu {

/// Most panels that one multiply() takes.
inline constexpr int kMaxPanels = 16;
/// Most columns (tokens) of one register tile, over all levels.
inline constexpr int kMaxTileWidth = 16;

/// What a product with a panel reads its activations as.
enum class RowFormKind {
  kFloat,      // fp32
  kInt8,       // blocks of 32 signed bytes
  kInt8Rows,   // signed bytes with one scale a token
  kBf16Pairs,  // pairs of bf16, only where the level multiplies them
};
inline constexpr size_t kNumRowForms = 4;

/// How many tokens a tile has and how many panels one multiply() should be given.
struct TileShape {
  int width = 1;
  int panels = 1;
};

/// The rows of one activation slot in the order in which tiles read them. Tokens are cut into tiles
/// of `width`, the last one may be narrower; tile t begins at token t * width and its values lie
/// together: for each step along the row, the tile's tokens side by side. So a tile is one
/// stream, with constant distances from token to token.
struct RowForm {
  int64_t tokens = 0;
  int64_t cols = 0;
  int64_t width = 1;

  // kFloat: [tile][cols][tokens of the tile]
  const float* f32 = nullptr;
  // kInt8: blocks of 32 along the row: [tile][cols / 32][tokens of the tile] of
  int8_t* q = nullptr;         // 32 bytes, x ~ scale * q
  float* scale = nullptr;      // amax / 127
  int32_t* neg_sum = nullptr;  // -(sum of q)
  /// The same of each half block: [tile][cols / 32][2][tokens of the tile].
  int32_t* neg_half_sum = nullptr;
  float* scaled_sum = nullptr;  // scale * (sum of q)
  // kInt8Rows: q [tile][(cols + 63) / 64][tokens of the tile] of 64 bytes, zeros at the row's end;
  // scale and neg_sum [tokens]
  // kBf16Pairs: [tile][(cols + 1) / 2][tokens of the tile]
  const uint32_t* pairs = nullptr;
};

struct MultiplyArgs {
  const std::byte* panels[kMaxPanels];
  /// Where the panels that come next in the same matrix begin, or the last one, for prefetching.
  const std::byte* next_panels[kMaxPanels];
  int num_panels = 0;
  const RowForm* x = nullptr;
  /// sums[t * sums_stride + 16 * p + r]: row r of panel p times token t. Written whole.
  float* sums = nullptr;
  int64_t sums_stride = 0;
};

/// What happens to the sums of neighbouring panels for every token.
struct FinishArgs {
  enum class Op { kStore, kAdd, kActivate, kActivateGated, kSoftCap };
  enum class Function { kGelu, kGeluTanh, kSilu };

  Op op = Op::kStore;
  Function function = Function::kSilu;
  float softcap = 0.0f;
  int64_t tokens = 0;
  int rows = kPanelRows;              // of the panels that exist
  const float* sums = nullptr;        // [tokens], stride sums_stride
  const float* other_sums = nullptr;  // kActivateGated: the factor
  int64_t sums_stride = 0;
  const float* bias = nullptr;        // [rows] or nullptr
  const float* other_bias = nullptr;  // [rows] or nullptr
  const float* add = nullptr;         // kAdd
  int64_t add_stride = 0;
  float* out = nullptr;
  int64_t out_stride = 0;
};

struct NormArgs {
  bool is_layer_norm = false;
  float eps = 0.0f;
  float weight_offset = 0.0f;
  const float* weight = nullptr;  // [width]
  const float* bias = nullptr;    // [width] or nullptr
  int64_t width = 0;
};

/// Keys of one softmax segment of one key/value head against up to max_attend_rows query rows.
struct AttendArgs {
  const std::byte* keys[4];  // per block of 32 tokens, as KvKernels has them
  const std::byte* values[4];
  /// What will be read next, for prefetching; the same keys where that is not known.
  const std::byte* next_keys[4];
  int rows = 0;
  const float* const* q = nullptr;  // [rows] pointers to [Dh]
  const int32_t* first = nullptr;   // [rows] first and last key of the segment, 0 .. 127, that
  const int32_t* last = nullptr;    // [rows] the row looks at; last < first: none
  int64_t head_dim = 0;
  float scale = 1.0f;
  float softcap = 0.0f;
  // Result per row: the largest score, the sum of exp(score - largest), the values so weighted.
  float* largest = nullptr;  // [rows]
  float* sum = nullptr;      // [rows]
  float* acc = nullptr;      // [rows][Dh16]
};

/// Keys and values kept in one stored type; all nullptr for types that have no such kernels. A
/// block of 32 tokens holds of one head, with Dh16 = Dh rounded up to 16 and no gap between keys:
///
///   f32, f16, bf16, fp8  keys [Dh][32 tokens], values [32 tokens][Dh16]
///   q8_0  keys, for each 32 channels: [32][32 tokens] bytes, then the tokens' scales [32];
///         values [32 tokens][Dh] bytes, then scales [Dh / 32][32 tokens]
///   q4_0  the same with two signed numbers of 4 bits in a byte: for keys channels d (low) and d +
///   1
///         of one token, [16][32 tokens]; for values channels j (low) and j + 16 of each 32
///
/// So a load of 16 bytes serves 16 lanes, keys with one token per lane, values with one channel,
/// and nothing is shuffled. Both take 32 rows as the type stores a row: 32 * row_bytes(Dh or Dh16).
struct KvKernels {
  /// One token into place 0 .. 31, rounded as the type's encode() does, too large values saturated.
  void (*append)(std::byte* keys, std::byte* values, int64_t place, const float* k, const float* v,
                 int64_t head_dim) = nullptr;
  /// The block as type f32 would have it, exact.
  void (*widen)(float* keys, float* values, const std::byte* stored_keys,
                const std::byte* stored_values, int64_t head_dim) = nullptr;
  /// The bits are those of attend() of type f32 over the widened blocks.
  void (*attend)(const AttendArgs& args) = nullptr;
};

/// Every kernel of one level. A kernel takes plain pointers, allocates nothing and gives bits that
/// depend on its operands only, never on how the caller cut the work.
struct KernelTable {
  Isa isa = Isa::kAvx2;

  // Products. The shape depends on the number of tokens only.
  TileShape (*float_shape)(int64_t tokens) = nullptr;
  TileShape (*int8_shape)(int64_t tokens) = nullptr;
  TileShape (*int8_rows_shape)(int64_t tokens) = nullptr;
  /// Fills the form for tokens [begin, end) of x [tokens][stride]. `form` holds the destinations.
  void (*fill_float)(const RowForm& form, float* out, const float* x, int64_t stride, int64_t begin,
                     int64_t end) = nullptr;
  void (*fill_int8)(const RowForm& form, const float* x, int64_t stride, int64_t begin,
                    int64_t end) = nullptr;
  void (*fill_int8_rows)(const RowForm& form, const float* x, int64_t stride, int64_t begin,
                         int64_t end) = nullptr;
  void (*fill_pairs)(const RowForm& form, uint32_t* out, const float* x, int64_t stride,
                     int64_t begin, int64_t end) = nullptr;
  /// By DType::index(): with the activations as floats, and as kInt8, or kInt8Rows for a type that
  /// scales rows (nullptr for float weights).
  void (*multiply_float[kNumFormats])(const MultiplyArgs& args) = {};
  void (*multiply_int8[kNumFormats])(const MultiplyArgs& args) = {};
  /// bf16 with the activations as kBf16Pairs; nullptr where the level cannot.
  void (*multiply_pairs)(const MultiplyArgs& args) = nullptr;
  void (*finish)(const FinishArgs& args) = nullptr;

  // Rows.
  void (*norm)(const NormArgs& args, float* out, const float* x) = nullptr;
  void (*add)(float* out, const float* a, const float* b, int64_t n) = nullptr;
  void (*scale)(float* x, float factor, int64_t n) = nullptr;
  void (*activate)(FinishArgs::Function function, float* out, const float* x, const float* gate,
                   int64_t n) = nullptr;  // gate may be nullptr
  /// Turns the pairs (x[j], x[j + half]) of one head: cos, sin [half].
  void (*rotate)(float* x, const float* cos, const float* sin, int64_t half) = nullptr;

  // Attention.
  int max_attend_rows = 0;
  KvKernels kv[kNumFormats] = {};  // by DType::index()
  /// Joins a segment to the running (largest, sum, acc [dh16]); segments come in ascending order.
  void (*merge)(float* largest, float* sum, float* acc, float segment_largest, float segment_sum,
                const float* segment_acc, int64_t dh16) = nullptr;
  /// out[i] = acc[i] / sum for i in [0, n)
  void (*divide)(float* out, const float* acc, float sum, int64_t n) = nullptr;

  // Results.
  /// The place of the largest value, the lowest of equals; NaN is below everything.
  int64_t (*arg_max)(const float* x, int64_t n) = nullptr;
  /// The first place >= begin whose value is above `bound`, or n.
  int64_t (*next_above)(const float* x, float bound, int64_t begin, int64_t n) = nullptr;

  // For tests: exp, tanh, gelu, gelu_tanh, silu of n values.
  void (*apply)(int function, float* out, const float* x, int64_t n) = nullptr;
};

const KernelTable& kernel_table(Isa isa);

}  // namespace quern::cpu
