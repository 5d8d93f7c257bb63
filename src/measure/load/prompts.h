#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "text/tokenizer.h"

namespace quern {

/// What a request of a load asks for.
struct LoadPrompt {
  std::string text;
  int64_t input_tokens = 0;  // counted with the tokenizer, without one estimated
  int64_t max_tokens = 0;
  int64_t arrival_ns = 0;  // of a trace
};

inline constexpr int64_t kDefaultPrompts = 1000;

struct PromptOptions {
  std::optional<int64_t> count = std::nullopt;  // default: kDefaultPrompts, of a trace all
  int64_t input_len = 1024;                     // random: tokens of a prompt, beside the prefix
  std::optional<int64_t> output_len = std::nullopt;  // default: what the dataset says, else 128
  double range_ratio = 0;  // random: lengths from (1 - r) to (1 + r) times those, evenly
  int64_t prefix_len = 0;  // random: tokens that all prompts begin with
  uint64_t seed = 0;
  std::filesystem::path path = {};       // of the others
  const Tokenizer* tokenizer = nullptr;  // without one a word of random text counts as a token
};

struct Prompts {
  std::vector<LoadPrompt> prompts = {};
  bool repeat = false;  // the file has fewer than were asked for, so they come again
  bool have_arrivals = false;
};

/// One way to come by prompts.
struct Dataset {
  std::string_view name;
  bool needs_file;
  Result<Prompts> (*read)(const PromptOptions& options);
};

/// Every dataset.
///   random    words drawn by the seed, of given length, no two with a common beginning
///   custom    one JSON object a line: "prompt", and "output_tokens" if it differs
///   sharegpt  a JSON array of "conversations" as of the ShareGPT collection: of each the first
///             turn, as long as the second one's answer, where both are neither tiny nor long
///   trace     one JSON object a line: "timestamp" (ms), "input_length", "output_length", and
///             "hash_ids" of the 512-token blocks that prompts share (Mooncake's traces)
const Dataset* find_dataset(std::string_view name);
/// "random, custom, ..."
std::string dataset_names();

/// Tokens of a text: counted, or without a tokenizer a fourth of its bytes.
Result<int64_t> count_tokens(std::string_view text, const Tokenizer* tokenizer);

/// Lets the prompts of a file come again until there are `count`.
Result<void> repeat_to(Prompts& prompts, int64_t count);

Result<Prompts> read_sharegpt_prompts(const PromptOptions& options);

}  // namespace quern
