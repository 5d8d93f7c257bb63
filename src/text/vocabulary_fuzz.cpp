#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "text/gguf_vocabulary.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace {

using quern::Tokenizer;

/// Cuts the input at zero bytes.
std::vector<std::string_view> fields_of(std::string_view input) {
  std::vector<std::string_view> fields(1);
  size_t from = 0;
  for (size_t at = input.find('\0'); at != std::string_view::npos; at = input.find('\0', from)) {
    fields.back() = input.substr(from, at - from);
    fields.emplace_back();
    from = at + 1;
  }
  fields.back() = input.substr(from);
  return fields;
}

void encode(const quern::Result<Tokenizer>& tokenizer, std::string_view text) {
  if (!tokenizer) return;
  for (const bool parse_special : {true, false}) {
    const auto ids = tokenizer->encode(text, {.parse_special = parse_special});
    if (ids && !quern::is_utf8(tokenizer->decode(*ids))) __builtin_trap();
  }
}

/// Fields: text, model, pre, then tokens as type, score and text in one field each, then an empty
/// one, then merges.
void run_gguf(const std::vector<std::string_view>& fields) {
  quern::GgufVocabulary vocabulary;
  if (fields.size() < 4) return;
  vocabulary.model = std::string(fields[1]);
  vocabulary.pre = std::string(fields[2]);
  size_t at = 3;
  for (; at < fields.size() && !fields[at].empty(); ++at) {
    vocabulary.token_type.push_back(fields[at][0] - '0');
    const std::string_view rest = fields[at].substr(1);
    vocabulary.scores.push_back(rest.empty() ? 0.0f : static_cast<float>(rest[0]));
    vocabulary.tokens.push_back(rest.empty() ? rest : rest.substr(1));
  }
  for (++at; at < fields.size(); ++at) vocabulary.merges.push_back(fields[at]);
  vocabulary.bos_id = 0;
  vocabulary.unk_id = static_cast<int64_t>(fields[0].size());
  for (const bool prefix : {true, false}) {
    vocabulary.add_space_prefix = prefix;
    encode(Tokenizer::from_gguf(vocabulary, "fuzz"), fields[0]);
  }
}

}  // namespace

/// The first byte chooses: a vocab.json with merges and config, or the lists of a GGUF file.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const auto fields =
      fields_of(std::string_view(reinterpret_cast<const char*>(data) + 1, size - 1));
  if (data[0] == 'g') {
    run_gguf(fields);
  } else if (fields.size() >= 3) {
    encode(Tokenizer::from_vocab_merges(fields[1], fields[2], "fuzz",
                                        fields.size() > 3 ? fields[3] : std::string_view()),
           fields[0]);
  }
  return 0;
}
