#pragma once

#include <optional>
#include <string>

#include "measure/load/prompts.h"

namespace quern {

/// What all requests of a load have in common.
struct OpenAiRequestOptions {
  bool chat = false;  // a message of a user, else a text to go on with
  std::string model;
  bool stream = true;
  bool ignore_eos = false;
  std::optional<double> temperature = std::nullopt;  // default: the server's
};

/// The body of a request; of a stream the counts at its end are asked for too.
std::string openai_request_body(const LoadPrompt& prompt, const OpenAiRequestOptions& options);

}  // namespace quern
