#pragma once

#include "base/json.h"
#include "base/result.h"

namespace quern {

/// One JSON value and a newline on stdout, with "schema": 1 in front of an object.
void print_json(Json object);
/// The same without the schema (lines of a JSONL stream).
void print_json_line(const Json& object);
/// Bytes on stdout, as they are, flushed.
void print_text(std::string_view text);
/// What repeats the answer, on stderr.
void print_seed(uint64_t seed);

/// An Error as the contract's {"code","message","what","found","wanted","try"}.
Json error_json(const Error& error);

/// From here on SIGINT and SIGTERM end the process at once, with status 130 or 143.
void catch_interrupts();
/// While it lives they are only noted, so that an answer can end in order; the second one ends the
/// process all the same.
class InterruptsNoted {
 public:
  InterruptsNoted();
  ~InterruptsNoted();
  InterruptsNoted(const InterruptsNoted&) = delete;
  InterruptsNoted& operator=(const InterruptsNoted&) = delete;
};
/// True once one has been noted.
bool interrupted();
/// It has been answered in order: the command ends with a status of its own.
void forget_interrupt();
/// 130 or 143: the status of a command ended that way.
int interrupt_status();

}  // namespace quern
