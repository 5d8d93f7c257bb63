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

TEST(Json, ManyKeysTakeTimeByTheirNumberNotItsSquare) {
  std::string text = "{";
  for (int i = 0; i < 300'000; ++i) text += (i ? ",\"" : "\"") + std::to_string(i) + "\":[{}]";
  const auto result = parse_json(text + "}", "f");  // hours, if each looked for all before it
  ASSERT_TRUE(result);
  EXPECT_EQ(result->size(), 300'000u);
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

/// Writes down what it is told; stops at the scalar "stop".
class Recorder final : public JsonVisitor {
 public:
  bool begin_object() override { return note("{"); }
  bool end_object() override { return note("}"); }
  bool begin_array() override { return note("["); }
  bool end_array() override { return note("]"); }
  bool key(std::string key) override { return note(key + ":"); }
  bool scalar(Json value) override { return note(dump_json(value) + ",") && value != "stop"; }
  std::string seen;

 private:
  bool note(const std::string& piece) {
    seen += piece;
    return true;
  }
};

TEST(Json, WalkMeetsEveryPieceInOrderAndIsAsStrictAsTheParser) {
  Recorder all;
  ASSERT_TRUE(walk_json(R"({"a":[1,-2,1.5,null,true],"b":{"c":"x"}})", "f", all));
  EXPECT_EQ(all.seen, R"({a:[1,-2,1.5,null,true,]b:{c:"x",}})");

  Recorder stopped;
  ASSERT_TRUE(walk_json(R"(["stop",2])", "f", stopped));
  EXPECT_EQ(stopped.seen, R"(["stop",)");

  for (const char* bad : {"{} x", "{/*c*/}", "\"\xff\"", "", "[1,]", "{\"a\" 1}"}) {
    Recorder ignored;
    const auto result = walk_json(bad, "x.json", ignored);
    ASSERT_FALSE(result) << bad;
    EXPECT_EQ(result.error().message.rfind("x.json: is not valid JSON: ", 0), 0u);
  }
  Recorder ignored;
  EXPECT_FALSE(walk_json(std::string(100'000, '['), "deep.json", ignored));
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
