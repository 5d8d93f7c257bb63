#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/answer_text.h"
#include "engine/request_fields.h"
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

/// What a request says to the chat template besides its messages.
struct TemplateOptions {
  /// Absent: unless the last message goes on.
  std::optional<bool> add_generation_prompt = std::nullopt;
  /// The last message is the start of the answer: the text ends where its content does.
  bool continue_final_message = false;
  Json tools = nullptr;             // an array, or null: none
  Json variables = Json::object();  // further ones, by name; each must be one the template reads
};

/// How long the parts of making a prompt took.
struct PromptTimes {
  int64_t template_ns = 0;
  int64_t tokenise_ns = 0;
};

/// Turns requests in words into requests in ids, for one model. Any number of threads at once.
class Prompter {
 public:
  /// Warns of a tokenizer that is there and cannot be read: ids still work.
  explicit Prompter(const Model& model);

  /// The prompt by whichever of its three ways `body` says it, the stop strings watched for.
  /// `on_text` gets the answer's text as it comes. kNotFound, naming the file, where text is needed
  /// and the model has no tokenizer; kBadInput for what template or tokenizer refuse.
  Result<PreparedRequest> prepare(RequestBody body,
                                  std::function<void(std::string_view)> on_text = {}) const;

  /// Turns the bad words of `body` into ids, for prepare() to find: once for all of several
  /// requests.
  Result<void> encode_bad_words(RequestBody& body) const;

  /// The ids of text as it is.
  Result<std::vector<int32_t>> encode(const std::string& text, EncodeOptions options) const;
  /// The ids of turns through the model's template. Special tokens are recognised in the template's
  /// own text; what stands in a message is plain text.
  Result<std::vector<int32_t>> encode_messages(const Json& messages,
                                               const TemplateOptions& options = {},
                                               PromptTimes* times = nullptr) const;
  /// The text that encode_messages() gives ids to.
  Result<std::string> render_messages(const Json& messages,
                                      const TemplateOptions& options = {}) const;

  /// Whether the model has a chat template; one that cannot be read counts.
  bool has_template() const { return template_ || template_.error().code != ErrorCode::kNotFound; }
  /// nullptr where the model has none.
  const Tokenizer* tokenizer() const;

 private:
  Result<std::vector<Segment>> segments(const Json& messages, const TemplateOptions& options) const;

  const Model& model_;
  Result<ChatTemplate> template_;  // kNotFound: the model has none
  Result<SpecialTokens> special_tokens_;
};

/// A request's body with the model's own sampling defaults; what a request says then goes over it.
RequestBody default_body(const Model& model);

}  // namespace quern
