#pragma once

#include <array>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "text/template/runtime.h"
#include "text/template/value.h"

namespace quern::jinja {

struct KeywordValue {
  std::string_view name;
  Value value;
};

/// The arguments of one call as the template wrote them.
struct Arguments {
  std::vector<Value> positional;
  std::vector<KeywordValue> keywords;
};

/// One filter, test, method or function that quern has. The tables of them are sorted by name and
/// are the only lists: a new one is one row. `bound` gets the arguments in the order of
/// `parameters`, missing where not given; a row with `raw` gets them as they were written.
struct Builtin {
  using Bound = Value (*)(Runtime&, const Value& subject, std::span<const Value> arguments);
  using Raw = Value (*)(Runtime&, const Value& subject, const Arguments& arguments);
  static constexpr size_t kMaxParameters = 5;

  std::string_view name;
  std::array<std::string_view, kMaxParameters> parameters = {};  // a leading '/': not by keyword
  int num_required = 0;
  Bound bound = nullptr;
  Raw raw = nullptr;
};

std::span<const Builtin> filters();
std::span<const Builtin> tests();
std::span<const Builtin> global_functions();

/// Rows of the tables above, kNoId for a name that is not there.
int32_t find_filter(std::string_view name);
int32_t find_test(std::string_view name);
int32_t find_global_function(std::string_view name);

/// What to say about a filter or test that quern does not have.
std::string refused_filter(std::string_view name);
std::string refused_test(std::string_view name);

/// Filters of Jinja that quern does not have.
bool is_missing_filter(std::string_view name);

/// Calls a row with its arguments; `kind` is how a message calls it ("filter").
Value call_builtin(Runtime& runtime, std::string_view kind, const Builtin& builtin,
                   const Value& subject, const Arguments& arguments);

/// A method of a value: the row in the table of its type, kNoId if its type has none of that name.
int32_t find_method(Type type, std::string_view name);
std::span<const Builtin> methods(Type type);

/// Methods of Python's types that quern does not have.
bool is_missing_method(std::string_view name);

/// object.name in Jinja's order: the attribute, else the item of that name, else undefined.
/// `name_id` is for the message, -1 if the name is not one of the template's.
Value get_attribute(Runtime& runtime, const Value& object, std::string_view name, int32_t name_id);
/// object["name"]: the item of that name, else the attribute, else undefined.
Value get_named_item(Runtime& runtime, const Value& object, std::string_view name, int32_t name_id);
/// object[key]: the item, else, for a string, the attribute, else undefined.
Value get_item(Runtime& runtime, const Value& object, const Value& key);
/// The attributes only; nothing if there is none of that name.
std::optional<Value> find_attribute(Runtime& runtime, const Value& object, std::string_view name,
                                    int32_t name_id);

}  // namespace quern::jinja
