#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "program/program.h"

namespace quern {

/// Writes a Program in the words of an architecture. Every call appends plain steps: one product
/// per weight, activations and residual additions as steps of their own; the fuse pass joins them.
/// Buffers are reused once nothing reads them again only by the executors, never here.
class ProgramBuilder {
 public:
  struct Sizes {
    std::string architecture;
    int64_t vocab_size = 0;
    int64_t context_length = 0;
    int64_t hidden_size = 0;
  };
  explicit ProgramBuilder(Sizes sizes);

  /// Weight names from here on are led by `prefix` ("model.layers.0.").
  void at(std::string prefix) { prefix_ = std::move(prefix); }

  /// The residual stream [T, D], from the table [V, D].
  Slot embed(std::string_view table);
  void add_positions(Slot x, std::string_view table);
  void scale(Slot x, float factor);

  struct NormOptions {
    Norm::Kind kind = Norm::Kind::kRms;
    float eps = 1e-5f;
    float weight_offset = 0.0f;
    std::string bias = {};  // layer norm only; empty: none
  };
  Slot norm(Slot x, std::string_view weight, NormOptions options);

  struct Product {
    std::string weight;
    int64_t rows = 0;
    std::string bias = {};  // empty: none
  };
  /// The products of one input, side by side in one new buffer [T, sum of rows].
  Slot linear(Slot in, const std::vector<Product>& products);
  /// x += product of `in`.
  void linear_add(Slot x, Slot in, const Product& product);
  Slot activate(Slot in, Activation activation, Activate::Form form);
  /// x += y
  void add(Slot x, Slot y);

  int32_t add_rope(Rope rope);

  struct RotateOptions {
    int64_t head_dim = 0;
    int32_t rope = 0;
    std::string q_norm = {}, k_norm = {};
    float eps = 1e-6f;
    float weight_offset = 0.0f;
  };
  void rotate(Slot q, Slot k, RotateOptions options);

  /// The group of layers that keep the last `window` tokens (0: all); made at first use.
  int32_t kv_group(int64_t window);

  struct AttendOptions {
    int64_t num_key_value_heads = 0;
    int64_t head_dim = 0;
    float scale = 1.0f;
    int64_t window = 0;
    float softcap = 0.0f;
  };
  /// Appends k and v to the cache of a new layer and attends over it: [T, H * Dh].
  Slot append_and_attend(Slot q, Slot k, Slot v, AttendOptions options);

  Slot gather_rows(Slot x);
  /// The logits; last call before finish().
  void head(Slot in, std::string_view weight, float softcap = 0.0f);

  Program finish() &&;

 private:
  Slot new_buffer(std::string name, int64_t width,
                  BufferDecl::Rows rows = BufferDecl::Rows::kTokens);
  WeightId matrix(std::string_view name, int64_t rows, int64_t cols);
  WeightId vector(std::string_view name, int64_t size);
  WeightId weight(std::string_view name, int64_t rows, int64_t cols, WeightDecl::Kind kind);

  int64_t hidden_size_;
  std::string prefix_;
  Program program_;
};

}  // namespace quern
