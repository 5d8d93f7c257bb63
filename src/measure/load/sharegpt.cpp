#include "base/cat.h"
#include "base/file.h"
#include "base/json.h"
#include "measure/load/prompts.h"

namespace quern {

namespace {

// Which conversations are taken, as everybody's benchmark does: neither tiny nor long.
constexpr int64_t kLeastTokens = 4, kMostPromptTokens = 1024, kMostTokens = 2048;

/// Walks a JSON array of objects and takes of each the texts of its "conversations", so that of a
/// file of a gigabyte only those are held.
class ConversationVisitor final : public JsonVisitor {
 public:
  /// What to do with the first two turns of a conversation; false ends the walk.
  using Take = std::function<Result<bool>(std::string prompt, std::string answer)>;

  ConversationVisitor(std::string path, Take take)
      : path_(std::move(path)), take_(std::move(take)) {}

  bool begin_object() override { return open(Kind::kObject); }
  bool end_object() override { return close(); }
  bool begin_array() override { return open(Kind::kArray); }
  bool end_array() override { return close(); }
  bool key(std::string key) override {
    if (depth_ == kEntry)
      entry_key_ = std::move(key);
    else if (depth_ == kTurn)
      turn_key_ = std::move(key);
    return true;
  }
  bool scalar(Json value) override {
    if (depth_ == kNothing) return fail("wanted an array of conversations");
    if (depth_ == kEntries) return fail(cat("entry ", num_entries_ + 1, ": wanted an object"));
    if (depth_ == kEntry && entry_key_ == "conversations") return no_list();
    if (!in_turns()) return true;
    if (depth_ == kTurns) return no_turn();
    if (depth_ == kTurn && turn_key_ == "value") {
      if (!value.is_string()) {
        return fail(cat("entry ", num_entries_ + 1, ": field \"value\": wanted a text"));
      }
      if (turns_.size() < 2) turns_.push_back(value.get<std::string>());
    }
    return true;
  }

  /// What is wrong with the file.
  Result<void> outcome() && { return std::move(outcome_); }

 private:
  enum class Kind { kObject, kArray };
  // What is open: nothing, the array, an entry, its list of turns, a turn.
  static constexpr int kNothing = 0, kEntries = 1, kEntry = 2, kTurns = 3, kTurn = 4;

  bool in_turns() const { return depth_ >= kTurns && entry_key_ == "conversations"; }

  bool open(Kind kind) {
    if (depth_ == kNothing && kind != Kind::kArray) return fail("wanted an array of conversations");
    if (depth_ == kEntries) {
      if (kind != Kind::kObject) return fail(cat("entry ", num_entries_ + 1, ": wanted an object"));
      turns_.clear();
      entry_key_.clear();
    }
    if (depth_ == kEntry && entry_key_ == "conversations" && kind != Kind::kArray) return no_list();
    if (depth_ == kTurns && in_turns()) {
      if (kind != Kind::kObject) return no_turn();
      turn_key_.clear();
    }
    ++depth_;
    return true;
  }

  bool close() {
    --depth_;
    if (depth_ != kEntries) return true;
    ++num_entries_;
    if (turns_.size() < 2) return true;
    Result<bool> taken = take_(std::move(turns_[0]), std::move(turns_[1]));
    if (!taken) outcome_ = std::move(taken).error();
    return taken && *taken;
  }

  bool no_list() {
    return fail(cat("entry ", num_entries_ + 1, ": field \"conversations\": wanted a list"));
  }
  bool no_turn() {
    return fail(cat("entry ", num_entries_ + 1,
                    ": field \"conversations\": wanted objects with \"from\" and \"value\""));
  }
  bool fail(const std::string& why) {
    outcome_ = Error{.code = ErrorCode::kBadFile, .message = cat(path_, ": ", why), .what = path_};
    return false;
  }

  std::string path_;
  Take take_;
  int depth_ = kNothing;
  int64_t num_entries_ = 0;
  std::string entry_key_, turn_key_;
  std::vector<std::string> turns_;
  Result<void> outcome_;
};

}  // namespace

Result<Prompts> read_sharegpt_prompts(const PromptOptions& options) {
  const int64_t count = options.count.value_or(kDefaultPrompts);
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(options.path));
  Prompts out;
  const auto take = [&](std::string prompt, const std::string& answer) -> Result<bool> {
    ASSIGN_OR_RETURN(const int64_t input, count_tokens(prompt, options.tokenizer));
    ASSIGN_OR_RETURN(const int64_t answered, count_tokens(answer, options.tokenizer));
    const int64_t output = options.output_len.value_or(answered);
    const bool fits = input >= kLeastTokens && input <= kMostPromptTokens &&
                      output >= (options.output_len ? 1 : kLeastTokens) &&
                      input + output <= kMostTokens;
    if (fits) {
      out.prompts.push_back(
          {.text = std::move(prompt), .input_tokens = input, .max_tokens = output});
    }
    return static_cast<int64_t>(out.prompts.size()) < count;
  };
  ConversationVisitor visitor(options.path.string(), take);
  const std::string_view text(reinterpret_cast<const char*>(file.bytes().data()),
                              file.bytes().size());
  RETURN_IF_ERROR(walk_json(text, options.path.string(), visitor));
  RETURN_IF_ERROR(std::move(visitor).outcome());
  if (out.prompts.empty()) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(options.path.string(), ": holds no conversation of two turns with ",
                                kLeastTokens, " to ", kMostPromptTokens, " prompt tokens and ",
                                kMostTokens, " in all"),
                 .what = options.path.string()};
  }
  RETURN_IF_ERROR(repeat_to(out, count));
  return out;
}

}  // namespace quern
