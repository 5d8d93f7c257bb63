#include "text/template/builtins.h"

#include <algorithm>
#include <optional>

#include "base/cat.h"
#include "text/template/syntax.h"

namespace quern::jinja {

namespace {

int32_t find_row(std::span<const Builtin> table, std::string_view name) {
  const auto row = std::lower_bound(
      table.begin(), table.end(), name,
      [](const Builtin& candidate, std::string_view wanted) { return candidate.name < wanted; });
  if (row == table.end() || row->name != name) return kNoId;
  return static_cast<int32_t>(row - table.begin());
}

std::string refused(std::string_view kind, std::string_view name, std::span<const Builtin> table) {
  std::string known;
  for (const Builtin& row : table) {
    if (!known.empty()) known += ", ";
    known += row.name;
  }
  return cat("the ", kind, " '", name.substr(0, 60), "' is not supported; there are: ", known);
}

}  // namespace

int32_t find_filter(std::string_view name) { return find_row(filters(), name); }
int32_t find_test(std::string_view name) { return find_row(tests(), name); }
int32_t find_global_function(std::string_view name) { return find_row(global_functions(), name); }
int32_t find_method(Type type, std::string_view name) { return find_row(methods(type), name); }

std::string refused_filter(std::string_view name) { return refused("filter", name, filters()); }
std::string refused_test(std::string_view name) { return refused("test", name, tests()); }

Value call_builtin(Runtime& runtime, std::string_view kind, const Builtin& builtin,
                   const Value& subject, const Arguments& arguments) {
  if (builtin.raw != nullptr) return builtin.raw(runtime, subject, arguments);

  std::array<Value, Builtin::kMaxParameters> bound;
  size_t num_parameters = 0;
  while (num_parameters < bound.size() && !builtin.parameters[num_parameters].empty()) {
    ++num_parameters;
  }
  if (arguments.positional.size() > num_parameters) {
    return runtime.fail(cat("the ", kind, " '", builtin.name, "' takes at most ", num_parameters,
                            " arguments, found ", arguments.positional.size()));
  }
  std::copy(arguments.positional.begin(), arguments.positional.end(), bound.begin());
  for (const KeywordValue& keyword : arguments.keywords) {
    const auto parameter = std::find(
        builtin.parameters.begin(),
        builtin.parameters.begin() + static_cast<ptrdiff_t>(num_parameters), keyword.name);
    const auto at = static_cast<size_t>(parameter - builtin.parameters.begin());
    if (at == num_parameters) {
      return runtime.fail(
          cat("the ", kind, " '", builtin.name, "' has no argument '", keyword.name, "'"));
    }
    if (!bound[at].is_missing()) {
      return runtime.fail(
          cat("the ", kind, " '", builtin.name, "' got the argument '", keyword.name, "' twice"));
    }
    bound[at] = keyword.value;
  }
  for (int i = 0; i < builtin.num_required; ++i) {
    if (!bound[static_cast<size_t>(i)].is_missing()) continue;
    std::string_view parameter = builtin.parameters[static_cast<size_t>(i)];
    if (parameter.starts_with('/')) parameter.remove_prefix(1);
    return runtime.fail(
        cat("the ", kind, " '", builtin.name, "' needs the argument '", parameter, "'"));
  }
  return builtin.bound(runtime, subject, std::span(bound).first(num_parameters));
}

}  // namespace quern::jinja
