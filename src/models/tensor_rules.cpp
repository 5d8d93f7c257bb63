#include "models/tensor_rules.h"

#include <algorithm>

#include "base/cat.h"

namespace quern {

namespace {

/// "model.layers.12.mlp" -> {"model.layers.*.mlp", "12"}: the first part of digits alone.
struct SplitName {
  std::string pattern;
  std::string layer;
};

SplitName split_layer(std::string_view name) {
  size_t begin = 0;
  while (begin < name.size()) {
    const size_t end = std::min(name.find('.', begin), name.size());
    const std::string_view part = name.substr(begin, end - begin);
    if (!part.empty() && part.find_first_not_of("0123456789") == std::string_view::npos) {
      return {cat(name.substr(0, begin), "*", name.substr(end)), std::string(part)};
    }
    begin = end + 1;
  }
  return {std::string(name), {}};
}

LayerRule find_rule(const Architecture& architecture, std::string_view name,
                    std::string_view TensorRule::*pattern) {
  SplitName split = split_layer(name);
  const auto rule = std::ranges::find(architecture.tensors, split.pattern, pattern);
  if (rule == architecture.tensors.end()) return {};
  return {&*rule, std::move(split.layer)};
}

}  // namespace

LayerRule rule_of_weight(const Architecture& architecture, std::string_view name) {
  return find_rule(architecture, name, &TensorRule::name);
}

LayerRule rule_of_gguf_tensor(const Architecture& architecture, std::string_view name) {
  return find_rule(architecture, name, &TensorRule::gguf);
}

std::string with_layer(std::string_view pattern, std::string_view layer) {
  const size_t star = pattern.find('*');
  if (star == std::string_view::npos) return std::string(pattern);
  return cat(pattern.substr(0, star), layer, pattern.substr(star + 1));
}

bool permutes(Transform transform) {
  return transform == Transform::kUnpermuteQueries || transform == Transform::kUnpermuteKeys;
}

int64_t permuted_row(int64_t row, int64_t rows, int64_t heads) {
  const int64_t head_dim = rows / heads;
  const int64_t half = head_dim / 2;
  const int64_t head = row / head_dim;
  const int64_t within = row % head_dim;
  return head * head_dim + within % half * 2 + within / half;
}

int64_t unpermuted_row(int64_t row, int64_t rows, int64_t heads) {
  const int64_t head_dim = rows / heads;
  const int64_t half = head_dim / 2;
  const int64_t head = row / head_dim;
  const int64_t within = row % head_dim;
  return head * head_dim + within % 2 * half + within / 2;
}

}  // namespace quern
