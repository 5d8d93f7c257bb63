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

/// An Error as the contract's {"code","message","what","found","wanted","try"}.
Json error_json(const Error& error);

/// True once SIGINT or SIGTERM has come; commands stop at the next step.
bool interrupted();
/// 130 or 143: the status of a command ended that way.
int interrupt_status();
void catch_interrupts();

}  // namespace quern
