#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "models/architecture.h"

namespace quern {

/// The rule for a tensor and the number of its layer, empty for one outside the layers.
struct LayerRule {
  const TensorRule* rule = nullptr;  // nullptr: the architecture has no such tensor
  std::string layer;
};

/// By the Program's name, "model.layers.12.mlp.up_proj.weight".
LayerRule rule_of_weight(const Architecture& architecture, std::string_view name);
/// By the name in GGUF files, "blk.12.ffn_up.weight".
LayerRule rule_of_gguf_tensor(const Architecture& architecture, std::string_view name);

/// A pattern of a rule with the layer's number for its "*".
std::string with_layer(std::string_view pattern, std::string_view layer);

/// Whether rows change places between the Program and the file.
bool permutes(Transform transform);

/// The row of the file that holds row `row` of the Program: within each head the file has the first
/// value of every rotary pair next to its second, the Program all first ones before all second.
int64_t permuted_row(int64_t row, int64_t rows, int64_t heads);
/// The inverse: the row of the Program that row `row` of the file holds.
int64_t unpermuted_row(int64_t row, int64_t rows, int64_t heads);

}  // namespace quern
