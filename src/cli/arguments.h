#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "cli/flags.h"

namespace quern {

/// What one command accepts.
struct CommandSyntax {
  std::string_view name;       // "run", "bench model"
  std::string_view arguments;  // "MODEL [PROMPT]"
  std::string_view summary;
  int min_positional = 0;
  int max_positional = 0;
  bool load_flags = false;  // the groups of the table
  bool request_flags = false;
  std::span<const std::string_view> flags;  // its own, by canonical name
};

/// The command line of one command, checked against its syntax: every value is a string here and
/// becomes a number where it is asked for. A flag also comes from QUERN_<FLAG> in the environment;
/// the command line wins.
class Arguments {
 public:
  /// `words` is what follows the command's name. kUsage for anything that does not belong.
  static Result<Arguments> parse(const CommandSyntax& syntax,
                                 const std::vector<std::string>& words);

  /// What --model names stands in front.
  const std::vector<std::string>& positional() const { return positional_; }
  /// The same with other positional arguments.
  Arguments with_positional(std::vector<std::string> positional) const {
    Arguments other = *this;
    other.positional_ = std::move(positional);
    return other;
  }

  bool has(std::string_view name) const { return values_.contains(std::string(name)); }
  /// A switch: on if given. A negatable flag: as given last, else `otherwise`.
  bool on(std::string_view name, bool otherwise = false) const;
  std::optional<std::string> text(std::string_view name) const;
  std::vector<std::string> texts(std::string_view name) const;
  Result<std::optional<int64_t>> integer(std::string_view name, int64_t low, int64_t high) const;
  Result<std::optional<double>> number(std::string_view name, double low, double high) const;
  Result<std::optional<uint64_t>> size(std::string_view name) const;
  /// "1,2,8" as integers; `otherwise` if the flag is absent.
  Result<std::vector<int64_t>> integers(std::string_view name, std::vector<int64_t> otherwise,
                                        int64_t low, int64_t high) const;

 private:
  std::vector<std::string> positional_;
  std::map<std::string, std::vector<std::string>, std::less<>> values_;
};

/// The --help text of a command.
std::string help_text(const CommandSyntax& syntax);

/// The kUsage error of a flag's value.
Error bad_value(std::string_view name, std::string_view found, std::string_view wanted);

}  // namespace quern
