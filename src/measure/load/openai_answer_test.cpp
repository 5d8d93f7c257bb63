#include "measure/load/openai_answer.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TimedBody body_of(const std::vector<std::pair<std::string, int64_t>>& parts) {
  TimedBody body;
  for (const auto& [bytes, at] : parts) body.add(bytes, at);
  return body;
}

TEST(OpenAiAnswer, AStreamOfChatGivesTextCountsAndTheTimesOfWhatHeldText) {
  LoadRecord record;
  const auto read = read_openai_stream(
      body_of(
          {{"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n", 1},
           {": wait\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"He\"}}],\"us", 2},
           {"age\":null}\n\n", 3},
           {"data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"l\"}}]}\n\n"
            "data: {\"choices\":[{\"delta\":{\"content\":\"lo\"}}]}\n\n",
            5},
           {"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", 6},
           {"data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":4,"
            "\"prompt_tokens_details\":{\"cached_tokens\":2}}}\n\ndata: [DONE]\n\n",
            8}}),
      record);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(record.text, "Hello");
  EXPECT_EQ(record.event_ns, (std::vector<int64_t>{3, 5, 5}));
  EXPECT_TRUE(record.usage_given);
  EXPECT_TRUE(record.stopped_itself);
  EXPECT_EQ(record.prompt_tokens, 7);
  EXPECT_EQ(record.completion_tokens, 4);
  EXPECT_EQ(record.cached_tokens, 2);
}

TEST(OpenAiAnswer, AStreamOfCompletionsAndAWholeAnswerAreReadAlike) {
  LoadRecord stream, whole;
  ASSERT_TRUE(read_openai_stream(
      body_of({{"data: {\"choices\":[{\"text\":\"a b\",\"finish_reason\":\"length\"}]}\r\n\r\n", 1},
               {"data: [DONE]\r\n\r\n", 2}}),
      stream));
  ASSERT_TRUE(read_openai_answer(
      body_of({{"{\"choices\":[{\"text\":\"a b\",\"finish_rea", 1}, {"son\":\"length\"}]}", 2}}),
      whole));
  EXPECT_EQ(stream.text, "a b");
  EXPECT_EQ(whole.text, "a b");
  EXPECT_EQ(whole.event_ns, (std::vector<int64_t>{2}));
  EXPECT_FALSE(stream.usage_given);
  EXPECT_FALSE(stream.stopped_itself);
}

TEST(OpenAiAnswer, AnErrorInTheStreamIsTheOutcomeAndItsMessageIsKept) {
  LoadRecord record;
  const auto read = read_openai_stream(
      body_of({{"data: {\"choices\":[{\"text\":\"a\"}]}\n\n", 1},
               {"data: {\"error\":{\"message\":\"out of memory\",\"code\":500}}\n\n", 2},
               {"data: [DONE]\n\n", 3}}),
      record);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().code, ErrorCode::kSystem);
  EXPECT_EQ(read.error().message, "the server says: out of memory");
  EXPECT_EQ(record.event_ns.size(), 1u);
}

TEST(OpenAiAnswer, WhatIsNoWholeAnswerIsAnError) {
  const auto failure = [](const std::string& text) {
    LoadRecord record;
    const auto read = read_openai_stream(body_of({{text, 1}}), record);
    return read ? std::string() : read.error().message;
  };
  EXPECT_EQ(failure(""), "the stream ended without [DONE]");
  EXPECT_EQ(failure("data: {\"choices\":[]}\n\n"), "the stream ended without [DONE]");
  EXPECT_NE(failure("data: {\"choices\":\n\ndata: [DONE]\n\n").find("valid JSON"),
            std::string::npos);
  EXPECT_NE(failure("data: []\n\n").find("choices"), std::string::npos);
  EXPECT_NE(failure("data: {\"choices\":7}\n\n").find("choices"), std::string::npos);
  EXPECT_EQ(failure("data: {\"choices\":[7,null,{\"delta\":3,\"text\":[]}],\"usage\":1}\n\n"
                    "data: [DONE]\n\n"),
            "");
}

TEST(OpenAiAnswer, AnErrorBodyTellsItsMessageOrItsBeginning) {
  EXPECT_EQ(error_of_body(R"({"error":{"message":"queue full","type":"x"}})"), "queue full");
  EXPECT_EQ(error_of_body(R"({"error":"no"})"), "\"no\"");
  EXPECT_EQ(error_of_body("<html>"), "<html>");
}

}  // namespace
}  // namespace quern
