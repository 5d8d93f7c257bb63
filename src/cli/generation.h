#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "cli/arguments.h"
#include "engine/answer_text.h"
#include "engine/request_fields.h"
#include "llm/llm.h"
#include "models/model.h"
#include "text/template/template.h"
#include "text/tokenizer.h"

namespace quern {

/// A request whose prompt has become ids, and the text its answer becomes. Without a tokenizer the
/// answer is ids alone and `text` is null.
struct PreparedRequest {
  Request request;
  std::shared_ptr<AnswerText> text;
};

/// Turns requests in words into requests in ids, for one model.
class Prompter {
 public:
  /// Warns of a tokenizer that is there and cannot be read: ids still work.
  explicit Prompter(const Model& model);

  /// The prompt by whichever of its three ways `body` says it, the stop strings watched for.
  /// `on_text` gets the answer's text as it comes. kNotFound, naming the file, where text is needed
  /// and the model has no tokenizer; kBadInput for what template or tokenizer refuse.
  Result<PreparedRequest> prepare(RequestBody body,
                                  std::function<void(std::string_view)> on_text = {}) const;

  /// The ids of text as it is.
  Result<std::vector<int32_t>> encode(const std::string& text, EncodeOptions options) const;
  /// The ids of turns through the model's template, up to the start of an answer. Special tokens
  /// are recognised in the template's own text; what stands in a message is plain text.
  Result<std::vector<int32_t>> encode_messages(const Json& messages) const;

  /// Whether the model has a chat template; one that cannot be read counts.
  bool has_template() const;
  /// nullptr where the model has none.
  const Tokenizer* tokenizer() const;

 private:
  Result<const ChatTemplate*> chat_template() const;

  const Model& model_;
  mutable std::optional<ChatTemplate> template_;
};

/// A request's body with the model's own sampling defaults; what a request says then goes over it.
RequestBody default_body(const Model& model);

/// The request flags of a command line, over the model's defaults. Only the fields; no prompt.
Result<Json> read_request_flags(const Arguments& arguments);

}  // namespace quern
