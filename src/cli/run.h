#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "cli/arguments.h"
#include "llm/llm.h"

namespace quern {

/// Rows of logits a step may compute beside one per sequence where prompt tokens are to be scored.
inline constexpr int64_t kPromptLogprobRows = 32;

/// Keeps what finishes.
struct ResultCollector final : EventSink {
  void on_token(const TokenEvent&) override {}
  void on_finished(RequestResult result) override { results.push_back(std::move(result)); }

  std::vector<RequestResult> results;
};

/// One user turn, after a system turn if there is one.
Json chat_messages(const std::optional<std::string>& system, const std::string& user);

/// Loads a model with a progress bar and says so where the context had to be lowered.
Result<std::unique_ptr<Llm>> load_llm(const Model& model, RunOptions& options);

/// What stands on stderr after an answer; --verbose asks for the same.
enum class Footer { kNone, kSpeedAndMemory };

/// Loads the model, runs one request and prints its answer. `complete` makes the request object of
/// the fields that flags gave.
Result<int> run_one(const Arguments& arguments,
                    const std::function<Json(bool has_template, Json fields)>& complete,
                    Footer footer);

/// Runs one request; SIGINT and SIGTERM cancel it at the next step.
Result<RequestResult> answer_until_interrupted(Llm& llm, const Request& request);

/// The conversation on a terminal, or line by line from stdin.
Result<int> run_chat(const Arguments& arguments);

}  // namespace quern
