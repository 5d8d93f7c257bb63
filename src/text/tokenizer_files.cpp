// Finds and opens the files of a tokenizer.

#include <array>
#include <fstream>
#include <system_error>

#include "base/file.h"
#include "text/json_document.h"
#include "text/tokenizer.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxFileBytes = uint64_t{256} << 20;
constexpr std::string_view kGgufMagic = "GGUF";

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

/// The text of a file that need not be there.
Result<std::string> read_if_there(const fs::path& path) {
  if (!is_file(path)) return std::string();
  return read_file(path, kMaxFileBytes);
}

Result<fs::path> find_in_folder(const fs::path& folder) {
  for (const char* name : {"tokenizer.json", "tokenizer.model", "vocab.json"}) {
    if (is_file(folder / name)) return folder / name;
  }
  return Error{.code = ErrorCode::kNotFound,
               .message = cat(folder.string(), ": holds no tokenizer: none of tokenizer.json, ",
                              "tokenizer.model and vocab.json is there"),
               .what = folder.string(),
               .wanted = "tokenizer.json, tokenizer.model or vocab.json"};
}

/// A line of base64, a space and a number, as in the rank files of tiktoken.
bool looks_like_ranks(std::string_view content) {
  const std::string_view line = content.substr(0, content.find('\n'));
  const size_t space = line.find(' ');
  if (space == std::string_view::npos || space == 0 || line.size() > 1000) return false;
  const std::string_view rank = line.substr(space + 1);
  return !rank.empty() && rank.find_first_not_of("0123456789") == std::string_view::npos;
}

Result<Tokenizer> open_json(const fs::path& file, std::string_view content,
                            std::string_view config) {
  const std::string what = file.string();
  bool has_model = false;
  {
    ASSIGN_OR_RETURN(const JsonDocument document, JsonDocument::parse(content, what));
    simdjson::dom::object model;
    has_model = document.root()["model"].get_object().get(model) == simdjson::SUCCESS;
    simdjson::dom::object root;
    JsonValue value;
    const bool first_is_id = document.root().get_object().get(root) == simdjson::SUCCESS &&
                             root.begin() != root.end() && (*root.begin()).value.is_int64();
    if (!has_model && !first_is_id) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(what,
                                  ": is neither a tokenizer.json (an object with \"model\") "
                                  "nor a vocab.json (tokens and their ids)"),
                   .what = what};
    }
  }
  if (has_model) return Tokenizer::from_tokenizer_json(content, what, config);
  for (const char* name : {"merges.txt", "vocab.bpe"}) {
    const fs::path merges = file.parent_path() / name;
    if (!is_file(merges)) continue;
    ASSIGN_OR_RETURN(const std::string text, read_file(merges, kMaxFileBytes));
    return Tokenizer::from_vocab_merges(content, text, what, config);
  }
  return Error{.code = ErrorCode::kNotFound,
               .message = cat(what, ": is a vocabulary, but its merges.txt is not beside it"),
               .what = (file.parent_path() / "merges.txt").string(),
               .try_next = "put merges.txt into the same folder"};
}

}  // namespace

bool looks_like_gguf(const fs::path& file) {
  if (!is_file(file)) return false;
  std::ifstream stream(file, std::ios::binary);
  std::array<char, 4> magic{};
  stream.read(magic.data(), magic.size());
  return stream && std::string_view(magic.data(), magic.size()) == kGgufMagic;
}

Result<Tokenizer> Tokenizer::open(const fs::path& file_or_folder) {
  fs::path file = file_or_folder;
  std::error_code ignored;
  if (fs::is_directory(file, ignored)) {
    ASSIGN_OR_RETURN(file, find_in_folder(file));
  }
  if (looks_like_gguf(file)) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(file.string(), ": is a GGUF file, not a tokenizer file"),
                 .what = file.string()};
  }
  ASSIGN_OR_RETURN(const std::string content, read_file(file, kMaxFileBytes));
  ASSIGN_OR_RETURN(const std::string config,
                   read_if_there(file.parent_path() / "tokenizer_config.json"));
  const size_t first = content.find_first_not_of(" \t\r\n");
  if (first != std::string::npos && content[first] == '{') {
    return open_json(file, content, config);
  }
  if (looks_like_ranks(content)) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(file.string(),
                                ": is a rank file of tiktoken, which is not "
                                "supported; use the tokenizer.json of the model"),
                 .what = file.string(),
                 .found = "a tiktoken rank file",
                 .wanted = "tokenizer.json, a SentencePiece model or vocab.json",
                 .try_next = "use the tokenizer.json of the model"};
  }
  return from_sentencepiece(std::as_bytes(std::span(content)), file.string(), config);
}

}  // namespace quern
