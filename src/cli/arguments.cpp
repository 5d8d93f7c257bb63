#include "cli/arguments.h"

#include <CLI/CLI.hpp>
#include <algorithm>

#include "base/numbers.h"
#include "cli/environment.h"

namespace quern {

namespace {

std::vector<std::string> split(std::string_view text, char separator) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(separator), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// --kv-cache-dtype -> QUERN_KV_CACHE_DTYPE
std::string environment_name(std::string_view flag_name) {
  std::string name = "QUERN_";
  for (const char c : flag_name.substr(2)) {
    name += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 'a' + 'A' : c);
  }
  return name;
}

/// The flags this command takes. Where a command's own flag shares a spelling with a group's (the
/// -p, -n, -b of bench model), its own wins.
struct Accepted {
  const Flag* flag;
  std::vector<std::string> spellings;
};

std::vector<Accepted> accepted_flags(const CommandSyntax& syntax) {
  std::vector<Accepted> accepted;
  const auto own = [&](const Flag& f) {
    return std::ranges::find(syntax.flags, f.name) != syntax.flags.end();
  };
  std::vector<std::string> taken;
  const auto add = [&](const Flag& f) {
    std::vector<std::string> spellings = split(f.aliases, ' ');
    spellings.insert(spellings.begin(), std::string(f.name));
    std::erase_if(spellings, [&](const std::string& spelling) {
      return std::ranges::find(taken, spelling) != taken.end();
    });
    taken.insert(taken.end(), spellings.begin(), spellings.end());
    accepted.push_back({&f, std::move(spellings)});
  };
  for (const Flag& f : flags()) {
    if (own(f)) add(f);
  }
  for (const Flag& f : flags()) {
    const bool in_group = f.group == FlagGroup::kOutput ||
                          (f.group == FlagGroup::kLoad && syntax.load_flags) ||
                          (f.group == FlagGroup::kRequest && syntax.request_flags);
    if (in_group && !own(f)) add(f);
  }
  return accepted;
}

/// Every spelling of a flag becomes its canonical name, so that the parser only meets long names;
/// also "-c=5" and "--ctx-size=5". The word after a flag that takes a value is that value, whatever
/// it looks like. What is neither goes to `positional`: the parser would take "[a,b]" apart.
std::vector<std::string> canonical_words(const std::vector<Accepted>& accepted,
                                         const std::vector<std::string>& words,
                                         std::vector<std::string>& positional) {
  std::vector<std::string> out;
  for (size_t i = 0; i < words.size(); ++i) {
    const std::string& word = words[i];
    if (word == "--") {
      positional.insert(positional.end(), words.begin() + static_cast<ptrdiff_t>(i + 1),
                        words.end());
      break;
    }
    if (word.size() < 2 || word[0] != '-' || word[1] == ' ' || word[1] == '\n') {
      positional.push_back(word);
      continue;
    }
    const size_t equals = word.find('=');
    const std::string head = word.substr(0, equals);
    const auto match = std::ranges::find_if(accepted, [&](const Accepted& candidate) {
      return std::ranges::find(candidate.spellings, head) != candidate.spellings.end();
    });
    if (match == accepted.end()) {
      out.push_back(word);
      continue;
    }
    const Flag& f = *match->flag;
    if (f.kind != FlagKind::kValue && f.kind != FlagKind::kRepeatable) {
      out.push_back(cat(f.name, equals == std::string::npos ? "" : word.substr(equals)));
      continue;
    }
    out.emplace_back(f.name);
    if (equals != std::string::npos) {
      out.push_back(word.substr(equals + 1));
    } else if (i + 1 < words.size()) {
      out.push_back(words[++i]);
    }
  }
  return out;
}

/// `what` is the flag at fault where there is one.
Error usage_error(const CommandSyntax& syntax, std::string message, std::string_view what = {}) {
  return Error{
      .code = ErrorCode::kUsage,
      .message = cat("quern ", syntax.name, ": ", message, "; see quern ", syntax.name, " --help"),
      .what = std::string(what.empty() ? syntax.name : what)};
}

std::string negative_name(const Flag& f) { return cat("--no-", f.name.substr(2)); }

}  // namespace

Error bad_value(std::string_view name, std::string_view found, std::string_view wanted) {
  return Error{.code = ErrorCode::kUsage,
               .message = cat(name, ": found \"", found, "\", wanted ", wanted),
               .what = std::string(name),
               .found = std::string(found),
               .wanted = std::string(wanted)};
}

Result<Arguments> Arguments::parse(const CommandSyntax& syntax,
                                   const std::vector<std::string>& words) {
  const std::vector<Accepted> accepted = accepted_flags(syntax);
  CLI::App app;
  app.set_help_flag();
  app.allow_extras(false);
  Arguments out;
  std::map<std::string, std::vector<std::string>> given;
  std::map<std::string, int64_t> switched;
  for (const Accepted& entry : accepted) {
    const Flag& f = *entry.flag;
    const std::string name(f.name);
    switch (f.kind) {
      case FlagKind::kSwitch:
        app.add_flag(name, switched[name]);
        break;
      case FlagKind::kNegatable:
        app.add_flag(cat(name, ",", negative_name(f), "{false}"), given[name])
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        break;
      case FlagKind::kOptional:
        app.add_flag(name, given[name])->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        break;
      case FlagKind::kValue:
      case FlagKind::kRepeatable:
        app.add_option(name, given[name])
            ->expected(1)
            ->allow_extra_args(false)
            ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
        break;
    }
  }
  std::vector<std::string> canonical = canonical_words(accepted, words, out.positional_);
  std::ranges::reverse(canonical);  // the parser takes them from the back
  try {
    app.parse(canonical);
  } catch (const CLI::Error& failure) {
    return usage_error(syntax, failure.what());
  }

  for (const Accepted& entry : accepted) {
    const Flag& f = *entry.flag;
    const std::string name(f.name);
    if (f.kind == FlagKind::kSwitch) {
      if (switched[name] > 0) out.values_[name] = {"true"};
    } else if (!given[name].empty()) {
      out.values_[name] = given[name];
    }
    if (f.kind == FlagKind::kValue && out.values_[name].size() > 1) {
      return usage_error(syntax, cat(name, " is given ", given[name].size(), " times"));
    }
    if (out.values_[name].empty()) {
      out.values_.erase(name);
      const auto variable = environment_variable(environment_name(f.name));
      if (f.group == FlagGroup::kLoad && variable) {
        const bool off = f.kind == FlagKind::kSwitch && (*variable == "0" || *variable == "false");
        if (!off) out.values_[name] = {*variable};
      }
    }
  }
  for (const Accepted& entry : accepted) {
    const Flag& f = *entry.flag;
    if (f.needs.empty() || !out.has(f.name) || out.has(f.needs)) continue;
    return usage_error(syntax, cat(f.name, " means nothing without ", f.needs), f.name);
  }
  if (const auto model = out.text("--model")) {
    out.positional_.insert(out.positional_.begin(), *model);
  }
  const auto count = static_cast<int>(out.positional_.size());
  if (count > syntax.max_positional) {
    return usage_error(syntax,
                       cat("unexpected argument \"",
                           out.positional_[static_cast<size_t>(syntax.max_positional)], "\""));
  }
  if (count < syntax.min_positional) return usage_error(syntax, cat("needs ", syntax.arguments));
  return out;
}

bool Arguments::on(std::string_view name, bool otherwise) const {
  const auto value = values_.find(name);
  if (value == values_.end()) return otherwise;
  const std::string& last = value->second.back();
  return last != "false" && last != "0";
}

std::optional<std::string> Arguments::text(std::string_view name) const {
  const auto value = values_.find(name);
  return value == values_.end() ? std::nullopt : std::optional(value->second.back());
}

std::vector<std::string> Arguments::texts(std::string_view name) const {
  const auto value = values_.find(name);
  return value == values_.end() ? std::vector<std::string>() : value->second;
}

Result<std::optional<int64_t>> Arguments::integer(std::string_view name, int64_t low,
                                                  int64_t high) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::optional<int64_t>();
  const std::optional<int64_t> value = parse_integer<int64_t>(*given);
  if (!value || *value < low || *value > high) {
    return bad_value(name, *given, cat("an integer from ", low, " to ", high));
  }
  return value;
}

Result<std::optional<double>> Arguments::number(std::string_view name, double low,
                                                double high) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::optional<double>();
  const std::optional<double> value = parse_number(*given);
  if (!value || *value < low || *value > high) {
    return bad_value(name, *given, cat("a number from ", low, " to ", high));
  }
  return value;
}

Result<std::optional<uint64_t>> Arguments::size(std::string_view name) const {
  const std::optional<std::string> given = text(name);
  if (!given) return std::optional<uint64_t>();
  const std::optional<uint64_t> value = parse_size(*given);
  if (!value || *value > uint64_t{INT64_MAX}) {
    return bad_value(name, *given, "a size such as 512M or 8GiB");
  }
  return value;
}

Result<std::vector<int64_t>> Arguments::integers(std::string_view name,
                                                 std::vector<int64_t> otherwise, int64_t low,
                                                 int64_t high) const {
  const std::optional<std::string> given = text(name);
  if (!given) return otherwise;
  std::vector<int64_t> values;
  for (const std::string& part : split(*given, ',')) {
    const std::optional<int64_t> value = parse_integer<int64_t>(part);
    if (!value || *value < low || *value > high) {
      return bad_value(name, *given, cat("integers from ", low, " to ", high, ", with commas"));
    }
    values.push_back(*value);
  }
  if (values.empty()) return bad_value(name, *given, "at least one integer");
  return values;
}

std::string help_text(const CommandSyntax& syntax) {
  std::string out =
      cat("usage: quern ", syntax.name, " ", syntax.arguments, "\n\n", syntax.summary, "\n");
  const struct {
    FlagGroup group;
    std::string_view title;
  } groups[] = {{FlagGroup::kCommand, "Of this command"},
                {FlagGroup::kRequest, "Of the answer"},
                {FlagGroup::kLoad, "Of the model (each also QUERN_<FLAG> in the environment)"},
                {FlagGroup::kOutput, "Of the output"}};
  const std::vector<Accepted> accepted = accepted_flags(syntax);
  for (const auto& [group, title] : groups) {
    std::string lines;
    for (const Accepted& entry : accepted) {
      const Flag& f = *entry.flag;
      if (f.group != group) continue;
      std::string names;
      for (const std::string& spelling : entry.spellings) {
        names += cat(names.empty() ? "" : ", ", spelling);
      }
      if (f.kind == FlagKind::kNegatable) names += cat(", ", negative_name(f));
      if (!f.value.empty()) {
        names += f.kind == FlagKind::kOptional ? cat("[=", f.value, "]") : cat(" ", f.value);
      }
      lines += cat("  ", names,
                   names.size() < 30 ? std::string(30 - names.size(), ' ')
                                     : std::string("\n") + std::string(32, ' '),
                   f.help, f.names != nullptr ? f.names() : std::string(), "\n");
    }
    if (!lines.empty()) out += cat("\n", title, ":\n", lines);
  }
  return out;
}

}  // namespace quern
