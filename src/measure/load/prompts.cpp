#include "measure/load/prompts.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "base/cat.h"
#include "base/file.h"
#include "base/json.h"
#include "engine/philox.h"
#include "measure/load/random_text.h"

namespace quern {

namespace {

constexpr int64_t kDefaultOutput = 128;
constexpr int64_t kMostTokens = 1 << 22;          // of one prompt
constexpr int64_t kMostBytes = int64_t{2} << 30;  // of all prompts together
constexpr int64_t kBytesPerWord = 8;              // at the most, the space included
constexpr uint64_t kMostFileBytes = uint64_t{4} << 30;
constexpr int64_t kTraceBlockTokens = 512;

// Streams of words that have nothing in common.
constexpr uint64_t kPrefixStream = 0, kFirstPromptStream = 1, kFirstBlockStream = uint64_t{1} << 40;

/// Fails where so many prompt tokens would take more memory than a load should.
Result<void> check_room(int64_t tokens) {
  if (tokens <= kMostBytes / kBytesPerWord) return {};
  return Error{
      .code = ErrorCode::kDoesNotFit,
      .message = cat("prompts: ", tokens, " tokens of prompts in all, at most ",
                     kMostBytes / kBytesPerWord, " can be held; ask for fewer or shorter ones"),
      .what = "prompts",
      .found = cat(tokens),
      .wanted = cat("at most ", kMostBytes / kBytesPerWord),
      .try_next = "fewer or shorter prompts"};
}

/// A text of `tokens` tokens, or nearly: words are added or taken away until the tokenizer counts
/// that many. `words` makes the text of so many words.
Result<LoadPrompt> fit_words(const std::function<std::string(int64_t)>& words, int64_t tokens,
                             const Tokenizer* tokenizer) {
  constexpr int kMostTries = 6;
  int64_t num_words = tokens;
  LoadPrompt prompt;
  for (int i = 0; i < kMostTries; ++i) {
    prompt.text = words(num_words);
    prompt.input_tokens = num_words;
    if (tokenizer == nullptr) break;
    ASSIGN_OR_RETURN(prompt.input_tokens, count_tokens(prompt.text, tokenizer));
    if (prompt.input_tokens == tokens) break;
    // Where words are several tokens each, the difference is scaled down to words.
    const auto ratio = static_cast<double>(num_words) /
                       static_cast<double>(std::max<int64_t>(1, prompt.input_tokens));
    const auto change = static_cast<int64_t>(
        std::lround(static_cast<double>(tokens - prompt.input_tokens) * std::min(1.0, ratio)));
    if (change == 0) break;
    num_words = std::max<int64_t>(1, num_words + change);
  }
  return prompt;
}

/// Text behind `head`, both counted in words: at least one word comes from `head`.
std::string begin_with(const std::string& head, int64_t head_words, int64_t num_words,
                       const std::function<std::string(int64_t)>& rest) {
  if (num_words <= head_words) {
    size_t end = 0;
    for (int64_t i = 0; i < num_words && end != std::string::npos; ++i) {
      end = head.find(' ', end + 1);
    }
    return head.substr(0, end);
  }
  return cat(head, " ", rest(num_words - head_words));
}

/// A length within the ratio around `middle`, at least 1.
int64_t length_around(int64_t middle, double ratio, uint64_t seed, int64_t index, uint32_t draw) {
  const uint64_t bits = random_bits(seed, static_cast<uint64_t>(index), draw);
  const double unit = static_cast<double>(bits >> 11) * 0x1p-53;
  const double low = std::floor(static_cast<double>(middle) * (1 - ratio));
  const double high = std::ceil(static_cast<double>(middle) * (1 + ratio));
  return std::max<int64_t>(1, static_cast<int64_t>(low + std::floor(unit * (high - low + 1))));
}

Result<Prompts> random_prompts(const PromptOptions& options) {
  const int64_t count = options.count.value_or(kDefaultPrompts);
  const int64_t longest =
      options.prefix_len +
      static_cast<int64_t>(static_cast<double>(options.input_len) * (1 + options.range_ratio)) + 1;
  RETURN_IF_ERROR(check_room(longest > kMostTokens ? INT64_MAX : count * longest));
  const auto prefix_words = [&](int64_t n) { return random_words(options.seed, kPrefixStream, n); };
  LoadPrompt prefix;
  if (options.prefix_len > 0) {
    ASSIGN_OR_RETURN(prefix, fit_words(prefix_words, options.prefix_len, options.tokenizer));
  }
  Prompts out;
  for (int64_t i = 0; i < count; ++i) {
    const int64_t input = length_around(options.input_len, options.range_ratio, options.seed, i, 3);
    const std::string head = unique_words(options.seed, i);
    const auto words = [&](int64_t n) {
      return begin_with(head, kNumUniqueWords, n, [&](int64_t rest) {
        return random_words(options.seed, kFirstPromptStream + static_cast<uint64_t>(i), rest);
      });
    };
    ASSIGN_OR_RETURN(LoadPrompt prompt, fit_words(words, input, options.tokenizer));
    if (options.prefix_len > 0) {
      prompt.text = cat(prefix.text, " ", prompt.text);
      prompt.input_tokens += prefix.input_tokens;
    }
    prompt.max_tokens = length_around(options.output_len.value_or(kDefaultOutput),
                                      options.range_ratio, options.seed, i, 4);
    out.prompts.push_back(std::move(prompt));
  }
  return out;
}

/// Calls `take` with every object of a file of lines; what leads messages is "FILE: line N".
Result<void> for_each_line(
    const std::filesystem::path& path,
    const std::function<Result<bool>(const JsonFields& fields, const std::string& what)>& take) {
  ASSIGN_OR_RETURN(const std::string text, read_file(path, kMostFileBytes));
  std::string_view rest = text;
  for (int64_t number = 1; !rest.empty(); ++number) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string what = cat(path.string(), ": line ", number);
    ASSIGN_OR_RETURN(const Json object, parse_json(line, what));
    if (!object.is_object()) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(what, ": wanted a JSON object"),
                   .what = what};
    }
    ASSIGN_OR_RETURN(const bool go_on, take(JsonFields(object, what), what));
    if (!go_on) break;
  }
  return {};
}

Error bad_field(const std::string& what, std::string_view field, std::string_view found,
                std::string_view wanted) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": field \"", field, "\": found ", found, ", wanted ", wanted),
               .what = std::string(field),
               .found = std::string(found),
               .wanted = std::string(wanted)};
}

Result<int64_t> token_count(const JsonFields& fields, std::string_view key,
                            const std::string& what) {
  ASSIGN_OR_RETURN(const std::optional<int64_t> value, fields.integer(key));
  const std::string wanted = cat("an integer from 1 to ", kMostTokens);
  if (!value) return bad_field(what, key, "nothing", wanted);
  if (*value < 1 || *value > kMostTokens) return bad_field(what, key, cat(*value), wanted);
  return *value;
}

Error no_prompts(const std::filesystem::path& path) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(path.string(), ": holds no prompts"),
               .what = path.string()};
}

Result<Prompts> custom_prompts(const PromptOptions& options) {
  const int64_t count = options.count.value_or(kDefaultPrompts);
  Prompts out;
  const auto take = [&](const JsonFields& fields, const std::string& what) -> Result<bool> {
    ASSIGN_OR_RETURN(std::optional<std::string> text, fields.text("prompt"));
    if (!text || text->empty()) return bad_field(what, "prompt", "nothing", "a text");
    LoadPrompt prompt{.text = *std::move(text),
                      .max_tokens = options.output_len.value_or(kDefaultOutput)};
    ASSIGN_OR_RETURN(prompt.input_tokens, count_tokens(prompt.text, options.tokenizer));
    if (fields.has("output_tokens") && !options.output_len) {
      ASSIGN_OR_RETURN(prompt.max_tokens, token_count(fields, "output_tokens", what));
    }
    out.prompts.push_back(std::move(prompt));
    return static_cast<int64_t>(out.prompts.size()) < count;
  };
  RETURN_IF_ERROR(for_each_line(options.path, take));
  if (out.prompts.empty()) return no_prompts(options.path);
  RETURN_IF_ERROR(repeat_to(out, count));
  return out;
}

/// The blocks of a trace's prompt that others may have too.
Result<std::vector<uint64_t>> block_ids(const JsonFields& fields, const std::string& what) {
  std::vector<uint64_t> ids;
  const Json* const list = fields.find("hash_ids");
  if (list == nullptr) return ids;
  if (!list->is_array()) return fields.wrong_type("hash_ids", "a list of integers");
  for (const Json& id : *list) {
    if (!id.is_number_integer()) {
      return bad_field(what, "hash_ids", dump_json(id), "a list of integers");
    }
    ids.push_back(id.get<uint64_t>());
  }
  return ids;
}

Result<Prompts> trace_prompts(const PromptOptions& options) {
  Prompts out{.have_arrivals = true};
  int64_t all_tokens = 0;
  std::optional<double> first_ms, last_ms;
  const auto take = [&](const JsonFields& fields, const std::string& what) -> Result<bool> {
    ASSIGN_OR_RETURN(const std::optional<double> at_ms, fields.number("timestamp"));
    if (!at_ms) return bad_field(what, "timestamp", "nothing", "milliseconds");
    if (*at_ms < last_ms.value_or(*at_ms)) {
      return bad_field(what, "timestamp", cat(*at_ms),
                       cat("none before the line above, which has ", *last_ms));
    }
    if (!first_ms) first_ms = at_ms;
    last_ms = at_ms;
    constexpr double kMostMs = 1e12;
    if (*at_ms - *first_ms > kMostMs) {
      return bad_field(what, "timestamp", cat(*at_ms), "milliseconds, within years");
    }
    ASSIGN_OR_RETURN(const int64_t input, token_count(fields, "input_length", what));
    ASSIGN_OR_RETURN(const int64_t output, token_count(fields, "output_length", what));
    ASSIGN_OR_RETURN(const std::vector<uint64_t> blocks, block_ids(fields, what));
    all_tokens += input;
    RETURN_IF_ERROR(check_room(all_tokens));

    const auto index = static_cast<uint64_t>(out.prompts.size());
    std::string head;
    int64_t head_words = 0;
    for (const uint64_t id : blocks) {
      const int64_t words = std::min(kTraceBlockTokens, input - head_words);
      if (words <= 0) break;
      head +=
          cat(head.empty() ? "" : " ", random_words(options.seed, kFirstBlockStream + id, words));
      head_words += words;
    }
    if (head.empty()) {
      head = unique_words(options.seed, static_cast<int64_t>(index));
      head_words = kNumUniqueWords;
    }
    const auto words = [&](int64_t n) {
      return begin_with(head, head_words, n, [&](int64_t rest) {
        return random_words(options.seed, kFirstPromptStream + index, rest);
      });
    };
    ASSIGN_OR_RETURN(LoadPrompt prompt, fit_words(words, input, options.tokenizer));
    prompt.max_tokens = options.output_len.value_or(output);
    prompt.arrival_ns = static_cast<int64_t>((*at_ms - *first_ms) * 1e6);
    out.prompts.push_back(std::move(prompt));
    return !options.count || static_cast<int64_t>(out.prompts.size()) < *options.count;
  };
  RETURN_IF_ERROR(for_each_line(options.path, take));
  if (out.prompts.empty()) return no_prompts(options.path);
  if (options.count && static_cast<int64_t>(out.prompts.size()) < *options.count) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(options.path.string(), ": holds ", out.prompts.size(),
                                " requests, but --num-prompts asks for ", *options.count),
                 .what = options.path.string(),
                 .found = cat(out.prompts.size()),
                 .wanted = cat(*options.count)};
  }
  return out;
}

constexpr Dataset kDatasets[] = {
    {"random", false, random_prompts},
    {"custom", true, custom_prompts},
    {"sharegpt", true, read_sharegpt_prompts},
    {"trace", true, trace_prompts},
};

}  // namespace

Result<int64_t> count_tokens(std::string_view text, const Tokenizer* tokenizer) {
  constexpr size_t kBytesPerToken = 4;  // of English, nearly
  if (tokenizer == nullptr) {
    return static_cast<int64_t>((text.size() + kBytesPerToken - 1) / kBytesPerToken);
  }
  ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                   tokenizer->encode(text, {.add_special_tokens = false, .parse_special = false}));
  return static_cast<int64_t>(ids.size());
}

Result<void> repeat_to(Prompts& prompts, int64_t count) {
  std::vector<LoadPrompt>& list = prompts.prompts;
  const size_t num_read = list.size();
  prompts.repeat = static_cast<int64_t>(num_read) < count;
  int64_t bytes = 0;
  for (size_t i = num_read; i < static_cast<size_t>(count); ++i) {
    bytes += static_cast<int64_t>(list[i % num_read].text.size());
    RETURN_IF_ERROR(check_room(bytes / kBytesPerWord));
    list.push_back(LoadPrompt(list[i % num_read]));
  }
  return {};
}

const Dataset* find_dataset(std::string_view name) {
  const auto found = std::ranges::find(kDatasets, name, &Dataset::name);
  return found == std::end(kDatasets) ? nullptr : found;
}

std::string dataset_names() {
  std::string names;
  for (const Dataset& dataset : kDatasets) {
    names += cat(names.empty() ? "" : ", ", dataset.name);
  }
  return names;
}

}  // namespace quern
