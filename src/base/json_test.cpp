#include "base/json.h"

#include <gtest/gtest.h>

namespace quern {
namespace {

TEST(Json, RefusesADuplicateKeyAndNamesIt) {
  const auto result = parse_json(R"({"a":1,"b":{"a":2},"a":3})", "x.json");
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, ErrorCode::kBadFile);
  EXPECT_NE(result.error().message.find("\"a\" stands twice"), std::string::npos);
}

TEST(Json, RefusesNestingBeyondTheLimitBeforeParsing) {
  const std::string deep(100'000, '[');
  const auto result = parse_json(deep, "deep.json");
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("limit is 128"), std::string::npos);
}

TEST(Json, RefusesCommentsTrailingBytesAndBadUtf8) {
  EXPECT_FALSE(parse_json("{} x", "f"));
  EXPECT_FALSE(parse_json("{/*c*/}", "f"));
  EXPECT_FALSE(parse_json("\"\xff\"", "f"));
  EXPECT_FALSE(parse_json("", "f"));
}

TEST(Json, FieldOfAnotherTypeIsAnErrorAndAbsentIsNothing) {
  const Json object = *parse_json(R"({"n":1.5,"s":"x","z":null})", "f");
  const JsonFields fields(object, "f");
  EXPECT_FALSE(fields.integer("n"));
  EXPECT_EQ(**fields.number("n"), 1.5);
  EXPECT_FALSE((*fields.text("z")).has_value());
  EXPECT_FALSE((*fields.integer("missing")).has_value());
}

TEST(Json, DumpReplacesInvalidUtf8AndKeepsFloatBits) {
  EXPECT_EQ(dump_json(Json{{"t", "a\xff"}}), "{\"t\":\"a\xEF\xBF\xBD\"}");
  const float value = -1.17549435e-38f;
  const Json back = *parse_json(dump_json(Json(double{value})), "f");
  EXPECT_EQ(static_cast<float>(back.get<double>()), value);
}

}  // namespace
}  // namespace quern
