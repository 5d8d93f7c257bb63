#include <cstdio>
#include <string>
#include <vector>

#include "base/log.h"
#include "cli/command.h"
#include "cli/output.h"

namespace quern {

namespace {

constexpr std::string_view kVersion = QUERN_VERSION;

std::string overview() {
  std::string out = "usage: quern COMMAND [ARGUMENTS]; quern COMMAND --help tells more\n\n";
  for (const Command* command : commands()) {
    const CommandSyntax& syntax = command->syntax;
    const std::string head = cat(syntax.name, " ", syntax.arguments);
    out += cat("  ", head, head.size() < 44 ? std::string(44 - head.size(), ' ') : " ",
               syntax.summary, "\n");
  }
  return out;
}

/// The command that the first one or two words name, and how many words that took.
const Command* find_command(const std::vector<std::string>& words, size_t& taken) {
  for (size_t count = std::min<size_t>(2, words.size()); count > 0; --count) {
    const std::string name = count == 2 ? cat(words[0], " ", words[1]) : words[0];
    for (const Command* command : commands()) {
      if (command->syntax.name == name) {
        taken = count;
        return command;
      }
    }
  }
  return nullptr;
}

int report(const Error& error, bool json) {
  if (json) print_json({{"error", error_json(error)}});
  std::fprintf(stderr, "error: %s\n", printable(error.message).c_str());
  return exit_status(error.code);
}

Result<void> set_up_log(const Arguments& arguments) {
  const std::string level = arguments.text("--log-level").value_or("warning");
  const std::pair<std::string_view, LogLevel> levels[] = {{"debug", LogLevel::kDebug},
                                                          {"info", LogLevel::kInfo},
                                                          {"warning", LogLevel::kWarning},
                                                          {"error", LogLevel::kError},
                                                          {"off", LogLevel::kOff}};
  for (const auto& [name, value] : levels) {
    if (name == level) {
      set_log_level(value);
      return {};
    }
  }
  return bad_value("--log-level", level, "debug, info, warning, error or off");
}

Result<int> run_command(const Command& command, const std::vector<std::string>& words) {
  ASSIGN_OR_RETURN(const Arguments arguments, Arguments::parse(command.syntax, words));
  RETURN_IF_ERROR(set_up_log(arguments));
  return command.run(arguments);
}

int main_of(const std::vector<std::string>& words) {
  const auto asks = [&](std::string_view word) {
    for (const std::string& given : words) {
      if (given == "--") return false;
      if (given == word) return true;
    }
    return false;
  };
  const bool json = asks("--json");
  if (words.empty() || words[0] == "--help" || words[0] == "-h" || words[0] == "help") {
    if (words.empty()) {
      std::fputs(overview().c_str(), stderr);
      return report({.code = ErrorCode::kUsage,
                     .message = "quern: needs a command; see quern --help",
                     .what = "command"},
                    json);
    }
    print_text(overview());
    return 0;
  }
  if (words[0] == "--version") {
    print_text(cat("quern ", kVersion, "\n"));
    return 0;
  }
  size_t taken = 0;
  const Command* command = find_command(words, taken);
  if (command == nullptr) {
    std::string known;
    for (const Command* each : commands()) {
      known += cat(known.empty() ? "" : ", ", each->syntax.name);
    }
    return report(
        {.code = ErrorCode::kUsage,
         .message = cat("quern: there is no command \"", words[0], "\"; there are: ", known),
         .what = "command",
         .found = words[0],
         .wanted = known},
        json);
  }
  const std::vector<std::string> rest(words.begin() + static_cast<ptrdiff_t>(taken), words.end());
  if (asks("--help") || asks("-h")) {
    print_text(help_text(command->syntax));
    return 0;
  }
  catch_interrupts();
  const Result<int> status = run_command(*command, rest);
  if (interrupted()) return interrupt_status();
  return status ? *status : report(status.error(), json);
}

/// The status of a run that did not fail: whether all of its answer reached stdout.
int check_output() {
  if (std::fflush(stdout) == 0 && std::ferror(stdout) == 0) return 0;
  return report({.code = ErrorCode::kSystem,
                 .message = "stdout: the answer could not be written; the disk is full or the "
                            "reader has gone",
                 .what = "stdout"},
                false);
}

}  // namespace

}  // namespace quern

int main(int count, char** words) {
  const int status = quern::main_of(std::vector<std::string>(words + 1, words + count));
  return status == 0 ? quern::check_output() : status;
}
