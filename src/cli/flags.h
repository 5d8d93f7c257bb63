#pragma once

#include <span>
#include <string>
#include <string_view>

namespace quern {

/// What a flag takes.
enum class FlagKind {
  kSwitch,      // nothing: --json
  kNegatable,   // nothing, also --no-NAME: --enable-prefix-caching
  kValue,       // one value
  kOptional,    // none or =VALUE: --no-fuse[=NAME,..]
  kRepeatable,  // one value each time, several times: --stop
};

/// Groups in --help; a command says which groups it takes.
enum class FlagGroup { kOutput, kLoad, kRequest, kCommand };

/// One flag of the command line: every spelling lives in this table and nowhere else.
struct Flag {
  std::string_view name;     // canonical, with dashes
  std::string_view aliases;  // other spellings, separated by spaces
  FlagKind kind = FlagKind::kValue;
  FlagGroup group = FlagGroup::kCommand;
  std::string_view value;  // its placeholder in --help
  std::string_view help;
  std::string_view needs = "";       // the flag without which this one would mean nothing
  std::string (*names)() = nullptr;  // the rest of the help: names that a list elsewhere holds
};

/// All flags, in the order of --help.
std::span<const Flag> flags();
/// The flag of that canonical name; ENSUREs that there is one.
const Flag& flag(std::string_view name);

}  // namespace quern
