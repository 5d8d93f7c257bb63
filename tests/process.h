#pragma once

#include <string>
#include <vector>

namespace quern {

/// What a finished program left behind.
struct ProcessResult {
  int status = 0;  // exit status, or 128 + signal
  std::string out, err;

  /// The last line of err, without its newline.
  std::string last_error_line() const;
};

/// Runs a program with `input` on its stdin and extra environment variables ("NAME=value").
ProcessResult run_process(const std::vector<std::string>& words, const std::string& input = {},
                          const std::vector<std::string>& environment = {});

/// The same with the quern binary of this build in front.
ProcessResult run_quern(std::vector<std::string> words, const std::string& input = {},
                        const std::vector<std::string>& environment = {});

/// A line of sh in which "$0" is that binary.
ProcessResult run_in_shell(const std::string& line);

/// A file below models/ of the repository.
std::string repository_model(const std::string& name);

}  // namespace quern
