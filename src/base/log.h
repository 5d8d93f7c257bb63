#pragma once

#include <string>
#include <string_view>

namespace quern {

enum class LogLevel { kDebug, kInfo, kWarning, kError, kOff };

/// What is below this level is dropped; kWarning unless changed. Process-wide, set once at start.
void set_log_level(LogLevel level);
LogLevel log_level();

/// The text as one line that moves no cursor and forges no line: control characters become spaces.
/// What is logged passes through it, because names and values come from files.
std::string printable(std::string_view text);

/// One line on stderr; stdout belongs to the answer.
void log_debug(const std::string& message);
void log_info(const std::string& message);
void log_warning(const std::string& message);

}  // namespace quern
