#include "checkpoint/safetensors.h"

#include <gtest/gtest.h>

#include "base/cat.h"
#include "checkpoint/test_files.h"

namespace quern {
namespace {

Result<Container> parse(const std::string& file) {
  return parse_safetensors(bytes_of(file), "x.safetensors");
}

void expect_bad(const std::string& file, std::string_view part) {
  const auto result = parse(file);
  ASSERT_FALSE(result) << "accepted, wanted: " << part;
  EXPECT_EQ(result.error().code, ErrorCode::kBadFile);
  EXPECT_EQ(result.error().message.rfind("x.safetensors", 0), 0u) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

/// A file of one tensor "t" with these fields and data.
std::string one_tensor(std::string_view fields, std::string_view data = "") {
  return safetensors_file(cat("{\"t\":{", fields, "}}"), data);
}

constexpr std::string_view kHeader =
    R"({"__metadata__":{"format":"pt","x":""},)"
    R"("b":{"dtype":"BF16","shape":[2,3],"data_offsets":[8,20]},)"
    R"("a":{"shape":[],"data_offsets":[0,8],"dtype":"I64"},)"
    R"("none":{"dtype":"F32","shape":[0,5],"data_offsets":[8,8]}}   )";

TEST(Safetensors, ReadsMetadataAndTensorsInTheOrderOfTheHeader) {
  const std::string file = safetensors_file(kHeader, "aaaaaaaabbbbbbbbbbbb");
  const auto container = parse(file);
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(container->format, ContainerFormat::kSafetensors);
  EXPECT_EQ(container->metadata.size(), 2u);
  EXPECT_EQ(std::get<std::string>(container->metadata.at("format").value), "pt");

  ASSERT_EQ(container->tensors.size(), 3u);
  const TensorInfo& b = container->tensors[0];
  EXPECT_EQ(b.name, "b");
  EXPECT_EQ(b.type_name, "BF16");
  EXPECT_EQ(b.dtype, DType::of<BF16>());
  EXPECT_EQ(b.shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(file.substr(b.offset, b.bytes), "bbbbbbbbbbbb");
  const TensorInfo& a = container->tensors[1];
  EXPECT_EQ(a.type_name, "I64");
  EXPECT_EQ(a.dtype, std::nullopt);
  EXPECT_TRUE(a.shape.empty());
  EXPECT_EQ(file.substr(a.offset, a.bytes), "aaaaaaaa");
  EXPECT_EQ(container->tensors[2].num_values(), 0);
  EXPECT_EQ(container->tensors[2].bytes, 0u);
}

TEST(Safetensors, RefusesAFileTruncatedAtAnyByte) {
  const std::string file = safetensors_file(kHeader, "aaaaaaaabbbbbbbbbbbb");
  for (size_t size = 0; size < file.size(); ++size) {
    const auto result = parse(file.substr(0, size));
    ASSERT_FALSE(result) << "accepted at " << size << " bytes";
    EXPECT_EQ(result.error().code, ErrorCode::kBadFile);
  }
}

TEST(Safetensors, SurvivesEveryByteTurnedIntoOthers) {
  const std::string file = safetensors_file(kHeader, "aaaaaaaabbbbbbbbbbbb");
  for (size_t i = 0; i < file.size(); ++i) {
    for (const char byte : {'\0', '0', '9', '"', '{', '}', '[', ']', ',', ':', '-', '\\', '\xFF'}) {
      std::string changed = file;
      changed[i] = byte;
      const auto result = parse(changed);
      if (!result) continue;
      for (const TensorInfo& tensor : result->tensors) {
        ASSERT_LE(tensor.offset + tensor.bytes, file.size());
      }
    }
  }
}

TEST(Safetensors, RefusesAHeaderLengthThatCannotBe) {
  for (const uint64_t size :
       {uint64_t{3}, uint64_t{100'000'000}, uint64_t{100'000'001}, uint64_t{1} << 63, UINT64_MAX}) {
    std::string file = "12345678{}";
    std::memcpy(file.data(), &size, 8);
    expect_bad(file, size > 100'000'000 ? "the format allows 100000000" : "header needs");
  }
  expect_bad("", "header length needs 8 bytes");
  expect_bad(safetensors_file("", ""), "does not begin with '{'");
  expect_bad(safetensors_file(" {}", ""), "does not begin with '{'");
  EXPECT_TRUE(parse(safetensors_file("{}", "")));
  expect_bad(safetensors_file("{}", "x"), "bytes after the data");
}

TEST(Safetensors, RefusesDuplicateKeysAtEveryLevel) {
  const std::string t = R"({"dtype":"U8","shape":[0],"data_offsets":[0,0]})";
  expect_bad(safetensors_file(cat(R"({"t":)", t, R"(,"t":)", t, "}"), ""), "name \"t\"");
  expect_bad(one_tensor(R"("dtype":"U8","dtype":"U8","shape":[0],"data_offsets":[0,0])"),
             "\"dtype\" stands twice");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0],"shape":[0],"data_offsets":[0,0])"),
             "\"shape\" stands twice");
  expect_bad(safetensors_file(R"({"__metadata__":{"a":"","a":""}})", ""), "\"a\" stands twice");
  expect_bad(safetensors_file(R"({"__metadata__":{},"__metadata__":{}})", ""),
             "\"__metadata__\" stands twice");
}

TEST(Safetensors, RefusesFieldsOfTheWrongKind) {
  expect_bad(safetensors_file(R"({"t":[]})", ""), "is an array, wanted an object");
  expect_bad(safetensors_file(R"({"t":null})", ""), "is null, wanted an object");
  expect_bad(safetensors_file(R"({"__metadata__":[]})", ""), "\"__metadata__\" is an array");
  expect_bad(safetensors_file(R"({"__metadata__":{"a":1}})", ""), "wanted a text");
  expect_bad(safetensors_file(R"({"__metadata__":{"a":{}}})", ""), "wanted a text");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0])"), "lacks one of");
  expect_bad(one_tensor(R"("dtype":"U9","shape":[0],"data_offsets":[0,0])"), "dtype \"U9\"");
  expect_bad(one_tensor(R"("dtype":3,"shape":[0],"data_offsets":[0,0])"), "dtype is a number");
  expect_bad(one_tensor(R"("dtype":"U8","shape":0,"data_offsets":[0,0])"), "shape");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[[0]],"data_offsets":[0,0])"), "shape");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[-1],"data_offsets":[0,0])"), "whole");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[1.0],"data_offsets":[0,0])"), "whole");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[18446744073709551616],"data_offsets":[0,0])"),
             "whole");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0],"data_offsets":[0])"), "wanted 2");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0],"data_offsets":[0,0,0])"), "wanted 2");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0],"data_offsets":[0,0],"more":1)"), "\"more\"");
  expect_bad(safetensors_file("{} {}", ""), "not valid JSON");
  expect_bad(safetensors_file(cat("{\"t\":", std::string(1'000'000, '[')), ""), "limit is 128");
}

TEST(Safetensors, RefusesSizesThatWrapOrDoNotFill) {
  expect_bad(one_tensor(R"("dtype":"U8","shape":[4294967296,4294967296],"data_offsets":[0,0])"),
             "multiply");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,0])"),
             "multiply");
  // 2^61 values of 64 bits wrap to zero bytes.
  expect_bad(one_tensor(R"("dtype":"I64","shape":[2305843009213693952],"data_offsets":[0,0])"),
             "do not fill");
  expect_bad(one_tensor(R"("dtype":"F32","shape":[2],"data_offsets":[0,4])", "1234"),
             "do not fill");
  expect_bad(one_tensor(R"("dtype":"F4","shape":[3],"data_offsets":[0,2])", "12"), "do not fill");
  EXPECT_TRUE(parse(one_tensor(R"("dtype":"F4","shape":[4],"data_offsets":[0,2])", "12")));
  expect_bad(one_tensor(R"("dtype":"U8","shape":[4],"data_offsets":[0,4])", "123"), "lie outside");
  expect_bad(one_tensor(R"("dtype":"U8","shape":[0],"data_offsets":[4,0])", "1234"), "lie outside");
}

TEST(Safetensors, RefusesGapsOverlapsAndBytesAfterTheData) {
  auto two = [](std::string_view first, std::string_view second, std::string_view data) {
    return safetensors_file(cat(R"({"a":{"dtype":"U8","shape":[4],"data_offsets":)", first,
                                R"(},"b":{"dtype":"U8","shape":[4],"data_offsets":)", second, "}}"),
                            data);
  };
  EXPECT_TRUE(parse(two("[0,4]", "[4,8]", "12345678")));
  EXPECT_TRUE(parse(two("[4,8]", "[0,4]", "12345678")));
  expect_bad(two("[0,4]", "[5,9]", "123456789"), "without gap or overlap");
  expect_bad(two("[1,5]", "[5,9]", "123456789"), "without gap or overlap");
  expect_bad(two("[0,4]", "[3,7]", "1234567"), "without gap or overlap");
  expect_bad(two("[0,4]", "[0,4]", "1234"), "without gap or overlap");
  expect_bad(two("[0,4]", "[4,8]", "123456789"), "bytes after the data");
}

TEST(Safetensors, ReadsAHeaderOfVeryManyTensorsInTimeThatGrowsWithItsLength) {
  std::string header = "{";
  for (int i = 0; i < 200'000; ++i) {
    header += cat(i == 0 ? "" : ",", "\"t", i, R"(":{"dtype":"U8","shape":[],"data_offsets":[)", i,
                  ",", i + 1, "]}");
  }
  const auto container = parse(safetensors_file(header + "}", std::string(200'000, 'x')));
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(container->tensors.size(), 200'000u);
}

TEST(SafetensorsIndex, ReadsTheWeightMapAndStepsOverTheRest) {
  const auto shards = parse_safetensors_index(
      R"({"metadata":{"total_size":8,"weight_map":{"x":"no"},"l":[[1],{}]},)"
      R"("weight_map":{"a":"m-1.safetensors","b":"m-2.safetensors"},"z":null})",
      "i.json");
  ASSERT_TRUE(shards) << shards.error().message;
  EXPECT_EQ(*shards, (ShardOfTensor{{"a", "m-1.safetensors"}, {"b", "m-2.safetensors"}}));
}

TEST(SafetensorsIndex, RefusesShardsOutsideItsFolderAndWrongShapes) {
  const auto refused = [](std::string_view json, std::string_view part) {
    const auto shards = parse_safetensors_index(json, "i.json");
    ASSERT_FALSE(shards) << json;
    EXPECT_EQ(shards.error().code, ErrorCode::kBadFile);
    EXPECT_NE(shards.error().message.find(part), std::string::npos) << shards.error().message;
  };
  for (const char* name : {"../m.safetensors", "/etc/passwd", "a/b", "a\\\\b", "..", ".", "",
                           "a\\u0000b", "\\u002e\\u002e/x"}) {
    refused(cat(R"({"weight_map":{"a":")", name, "\"}}"), "plain file name");
  }
  refused(R"({"weight_map":{"a":1}})", "names no file");
  refused(R"({"weight_map":{"a":["x"]}})", "names no file");
  refused(R"({"weight_map":{"a":{}}})", "names no file");
  refused(R"({"weight_map":[]})", "\"weight_map\" is no object");
  refused(R"({"weight_map":3})", "\"weight_map\" is no object");
  refused(R"({"weight_map":{},"weight_map":{}})", "stands twice");
  refused(R"({"weight_map":{"a":"x","a":"x"}})", "stands twice");
  refused("{}", "lacks \"weight_map\"");
  refused("[]", "is no object");
  refused("1", "is no object");
  refused("{", "not valid JSON");
}

}  // namespace
}  // namespace quern
