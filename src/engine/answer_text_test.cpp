#include "engine/answer_text.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

/// Words of a byte-level vocabulary of single bytes, with one special token.
Tokenizer byte_tokenizer() {
  std::string json = R"({"version":"1.0","added_tokens":[{"id":256,"content":"<end>",)"
                     R"("single_word":false,"lstrip":false,"rstrip":false,"normalized":false,)"
                     R"("special":true}],"normalizer":null,"pre_tokenizer":{"type":"ByteLevel",)"
                     R"("add_prefix_space":false,"trim_offsets":true,"use_regex":false},)"
                     R"("post_processor":null,"decoder":{"type":"ByteLevel"},)"
                     R"("model":{"type":"BPE","vocab":{)";
  // GPT-2's table of printable stand-ins: bytes that print as they are keep their code point, the
  // others get those from 256 on, in order.
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool prints = (byte >= 33 && byte <= 126) || (byte >= 161 && byte != 173);
    const int code = prints ? byte : next++;
    std::string text;
    if (code == '"' || code == '\\') text += '\\';
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else {
      text += static_cast<char>(0xC0 | (code >> 6));
      text += static_cast<char>(0x80 | (code & 0x3F));
    }
    json += cat(byte == 0 ? "" : ",", "\"", text, "\":", byte);
  }
  json += R"(},"merges":[]}})";
  return Tokenizer::from_tokenizer_json(json, "bytes").value();
}

/// Gives the bytes of `text` as tokens; the number of tokens it took.
int64_t feed(AnswerText& answer, std::string_view text) {
  int64_t count = 0;
  for (const char byte : text) {
    if (answer.on_token(static_cast<uint8_t>(byte), ++count)) return count;
  }
  answer.finish();
  return count;
}

TEST(AnswerText, EndsOnTheTokenThatCompletesAStopString) {
  std::string streamed;
  AnswerText answer(
      byte_tokenizer(), {},
      {.stop = {"stop", "!!"}, .on_text = [&](std::string_view text) { streamed += text; }});
  EXPECT_EQ(feed(answer, "do not stop here"), 11);
  EXPECT_EQ(answer.text(), "do not ");
  EXPECT_EQ(streamed, answer.text());
  EXPECT_EQ(answer.stopped_by(), "stop");
}

TEST(AnswerText, NeverGivesPartOfACharacter) {
  std::vector<std::string> pieces;
  AnswerText answer(byte_tokenizer(), {},
                    {.on_text = [&](std::string_view text) { pieces.emplace_back(text); }});
  feed(answer, "a\u20AC\u00E9");
  EXPECT_EQ(pieces, (std::vector<std::string>{"a", "\u20AC", "\u00E9"}));
}

TEST(AnswerText, GivesWhatWasHeldBackAtTheEnd) {
  AnswerText answer(byte_tokenizer(), {}, {.stop = {"xyz"}});
  feed(answer, "ab xy");
  EXPECT_EQ(answer.text(), "ab xy");
}

TEST(AnswerText, LeavesOutSpecialTokensAndIdsWithoutText) {
  AnswerText answer(byte_tokenizer(), {}, {});
  int64_t count = 0;
  for (const int32_t id : {97, 256, 300, 98}) answer.on_token(id, ++count);
  answer.finish();
  EXPECT_EQ(answer.text(), "ab");
}

TEST(AnswerText, StopStringsCountOnlyAfterMinTokens) {
  AnswerText answer(byte_tokenizer(), {}, {.stop = {"ab"}, .min_tokens = 4});
  EXPECT_EQ(feed(answer, "ababab"), 6);
  EXPECT_EQ(answer.text(), "abab");
}

}  // namespace
}  // namespace quern
