#include "engine/request_fields.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace quern {
namespace {

Result<RequestBody> read(std::string_view text) { return read_request(*parse_json(text, "line")); }

TEST(RequestFields, AreSortedAndUnique) {
  const auto fields = request_fields();
  EXPECT_TRUE(std::ranges::is_sorted(fields, {}, &RequestField::name));
  EXPECT_EQ(std::ranges::adjacent_find(fields, {}, &RequestField::name), fields.end());
}

TEST(RequestFields, GoWhereTheyBelong) {
  const auto body = read(R"({"prompt_token_ids":[1,2],"max_tokens":5,"temperature":0,"stop":"x",
      "logit_bias":{"7":-1.5},"seed":-1,"logprobs":3,"id":{"a":1},"ignore_eos":true,
      "priority":-1000})");
  ASSERT_TRUE(body) << body.error().message;
  EXPECT_EQ(*body->prompt_token_ids, (std::vector<int32_t>{1, 2}));
  EXPECT_EQ(body->request.max_tokens, 5);
  EXPECT_EQ(body->request.sampling.temperature, 0.0f);
  EXPECT_EQ(body->stop, std::vector<std::string>{"x"});
  EXPECT_EQ(body->request.sampling.logit_bias.front(), (std::pair<int32_t, float>{7, -1.5f}));
  EXPECT_EQ(body->request.sampling.seed, UINT64_MAX);
  EXPECT_EQ(body->request.logprobs, 3);
  EXPECT_EQ(body->id, Json({{"a", 1}}));
  EXPECT_TRUE(body->request.ignore_eos);
  EXPECT_EQ(body->request.priority, -1000);
}

TEST(RequestFields, EveryWrongTypeOrBoundNamesTheField) {
  const std::pair<const char*, const char*> cases[] = {
      {R"({"prompt":"a","max_tokens":0})", "max_tokens"},
      {R"({"prompt":"a","max_tokens":1.5})", "max_tokens"},
      {R"({"prompt":"a","max_tokens":18446744073709551615})", "max_tokens"},
      {R"({"prompt":"a","temperature":-1})", "temperature"},
      {R"({"prompt":"a","temperature":"hot"})", "temperature"},
      {R"({"prompt":"a","top_p":0})", "top_p"},
      {R"({"prompt":"a","logprobs":21})", "logprobs"},
      {R"({"prompt":"a","stop":[""]})", "stop"},
      {R"({"prompt":"a","logit_bias":{"-1":1}})", "logit_bias"},
      {R"({"prompt":"a","logit_bias":{"x":1}})", "logit_bias"},
      {R"({"prompt_token_ids":[-1]})", "prompt_token_ids"},
      {R"({"prompt_token_ids":[1.0]})", "prompt_token_ids"},
      {R"({"messages":[]})", "messages"},
      {R"({"prompt":"a","lora":"x"})", "lora"},
      {R"({"prompt":"a","priority":1001})", "priority"},
      {R"({"prompt":"a","priority":-1001})", "priority"},
      {R"({"prompt":"a","priority":"high"})", "priority"},
      {R"({"prompt":"a","colour":1})", "colour"},
      {R"({"max_tokens":1})", "prompt"},
      {R"({"prompt":"a","prompt_token_ids":[1]})", "prompt"},
  };
  for (const auto& [text, name] : cases) {
    const auto body = read(text);
    ASSERT_FALSE(body) << text;
    EXPECT_EQ(body.error().code, ErrorCode::kBadInput);
    EXPECT_EQ(body.error().what, name) << text;
    EXPECT_NE(body.error().message.find(name), std::string::npos);
  }
}

TEST(RequestFields, EveryUsedFieldRefusesAnArrayOfArrays) {
  const Json nested = Json::array({Json::array({Json::array()})});
  for (const RequestField& field : request_fields()) {
    if (field.status != RequestField::Status::kUsed || field.name == "id") continue;
    RequestBody body;
    EXPECT_FALSE(take_field(field, nested, body)) << field.name;
  }
}

}  // namespace
}  // namespace quern
