#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace quern::jinja {

using NodeId = int32_t;
using NameId = int32_t;
using ScopeId = int32_t;
inline constexpr int32_t kNoId = -1;

enum class NodeKind : uint8_t {
  kConstant,         // a = index into Syntax::constants
  kName,             // a = name, b = scope it is read in
  kList,             // children
  kTuple,            // children
  kDict,             // children: key, value, key, value ...
  kAttribute,        // a = object, b = name
  kSubscript,        // a = object, b = index
  kSlice,            // a, b, c = start, stop, step, each may be kNoId
  kCall,             // a = callee, b = arguments
  kFilter,           // a = subject (kNoId: the captured text), b = arguments, c = row of kFilters
  kTest,             // a = subject, b = arguments, c = row of kTests
  kNegate,           // a
  kPlus,             // a
  kNot,              // a
  kBinary,           // op, a, b
  kAnd,              // a, b
  kOr,               // a, b
  kCompare,          // children: operands; c = first of their operators in Syntax::comparisons
  kCondition,        // a = test, b = then, c = else (kNoId: undefined)
  kRefused,          // a = constant: the message of the failure that evaluating it is
  kNamespaceTarget,  // a = the kName, b = attribute name; only as a target of set
};

enum class BinaryOp : uint8_t { kAdd, kSub, kMul, kDiv, kFloorDiv, kMod, kPow, kConcat };
enum class CompareOp : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct Node {
  NodeKind kind = NodeKind::kConstant;
  BinaryOp op = BinaryOp::kAdd;
  int32_t line = 0;
  int32_t a = kNoId, b = kNoId, c = kNoId;
  int32_t first_child = 0, num_children = 0;  // in Syntax::children
};

struct Constant {
  enum class Kind : uint8_t { kNone, kFalse, kTrue, kInteger, kFloat, kString };
  Kind kind = Kind::kNone;
  int64_t integer = 0;
  double number = 0;
  std::string text = {};
};

/// The arguments of a call in source order: positional, keyword, *args, **kwargs.
struct ArgumentList {
  std::vector<NodeId> positional;
  std::vector<NameId> keyword_names;
  std::vector<NodeId> keyword_values;
  NodeId star = kNoId;
  NodeId double_star = kNoId;
  bool empty() const {
    return positional.empty() && keyword_names.empty() && star == kNoId && double_star == kNoId;
  }
};

/// The expressions of one template as a flat tree: nodes refer to each other by index, so that no
/// depth of nesting makes building, walking or freeing it recursive.
struct Syntax {
  std::vector<Node> nodes;
  std::vector<NodeId> children;
  std::vector<CompareOp> comparisons;
  std::vector<ArgumentList> arguments = std::vector<ArgumentList>(1);  // 0: none given
  std::vector<Constant> constants;
  std::vector<std::string> names;
  std::unordered_map<std::string, NameId> name_ids;

  NodeId add(Node node) {
    nodes.push_back(node);
    return static_cast<NodeId>(nodes.size()) - 1;
  }
  NodeId add_with_children(Node node, const NodeId* first, size_t count) {
    node.first_child = static_cast<int32_t>(children.size());
    node.num_children = static_cast<int32_t>(count);
    children.insert(children.end(), first, first + count);
    return add(node);
  }
  NodeId child(const Node& node, int32_t index) const {
    return children[static_cast<size_t>(node.first_child + index)];
  }
  const Node& node(NodeId id) const { return nodes[static_cast<size_t>(id)]; }

  int32_t add_constant(Constant constant) {
    constants.push_back(std::move(constant));
    return static_cast<int32_t>(constants.size()) - 1;
  }
  NameId name_id(std::string_view name) {
    const auto [entry, is_new] =
        name_ids.try_emplace(std::string(name), static_cast<NameId>(names.size()));
    if (is_new) names.emplace_back(name);
    return entry->second;
  }
};

}  // namespace quern::jinja
