#include "checkpoint/gguf.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <limits>

#include "checkpoint/test_files.h"

namespace quern {
namespace {

Result<Container> parse(const std::string& file) { return parse_gguf(bytes_of(file), "x.gguf"); }

/// Expects a refusal of that code whose message names the file and holds `part`.
void expect_refused(const std::string& file, ErrorCode code, std::string_view part) {
  const auto result = parse(file);
  ASSERT_FALSE(result) << "accepted, wanted: " << part;
  EXPECT_EQ(result.error().code, code) << result.error().message;
  EXPECT_EQ(result.error().message.rfind("x.gguf", 0), 0u) << result.error().message;
  EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
}

template <typename T>
const T& value(const Container& container, std::string_view key) {
  return std::get<T>(container.metadata.find(key)->second.value);
}

/// A file with every kind of value and a matrix, a block-quantised matrix and a scalar.
std::string small_file(uint32_t version = 3) {
  GgufTestWriter writer;
  writer.version = version;
  writer.text("general.architecture", "llama")
      .u32("n", 7)
      .f32("eps", 0.5f)
      .boolean("flag", 1)
      .texts("tokens", {"a", "", "bc"})
      .numbers<float>("scores", 6, {-1.0f, 2.0f})
      .numbers<int32_t>("types", 5, {1, -3})
      .numbers<uint8_t>("flags", 7, {0, 1});
  return writer.tensor("m", 0, {4, 2}, std::string(32, 'm'))
      .tensor("q", 8, {32, 3}, std::string(102, 'q'))
      .tensor("s", 0, {}, std::string(4, 's'))
      .finish();
}

TEST(Gguf, ReadsMetadataAndTensorsOfBothVersions) {
  for (const uint32_t version : {2u, 3u}) {
    const std::string file = small_file(version);
    const auto container = parse(file);
    ASSERT_TRUE(container) << container.error().message;
    EXPECT_EQ(container->format, ContainerFormat::kGguf);
    EXPECT_EQ(value<std::string>(*container, "general.architecture"), "llama");
    EXPECT_EQ(value<int64_t>(*container, "n"), 7);
    EXPECT_EQ(value<double>(*container, "eps"), 0.5);
    EXPECT_EQ(value<bool>(*container, "flag"), true);
    EXPECT_EQ(value<std::vector<std::string>>(*container, "tokens"),
              (std::vector<std::string>{"a", "", "bc"}));
    EXPECT_EQ(value<std::vector<double>>(*container, "scores"), (std::vector<double>{-1, 2}));
    EXPECT_EQ(value<std::vector<int64_t>>(*container, "types"), (std::vector<int64_t>{1, -3}));
    EXPECT_EQ(value<std::vector<bool>>(*container, "flags"), (std::vector<bool>{false, true}));

    ASSERT_EQ(container->tensors.size(), 3u);
    const TensorInfo& m = container->tensors[0];
    EXPECT_EQ(m.name, "m");
    EXPECT_EQ(m.type_name, "F32");
    EXPECT_EQ(m.dtype, DType::of<F32>());
    EXPECT_EQ(m.shape, (std::vector<int64_t>{2, 4}));
    EXPECT_EQ(m.bytes, 32u);
    EXPECT_EQ(file.substr(m.offset, m.bytes), std::string(32, 'm'));
    const TensorInfo& q = container->tensors[1];
    EXPECT_EQ(q.dtype, DType::of<Q8_0>());
    EXPECT_EQ(q.num_values(), 96);
    EXPECT_EQ(file.substr(q.offset, q.bytes), std::string(102, 'q'));
    EXPECT_TRUE(container->tensors[2].shape.empty());
    EXPECT_EQ(container->tensors[2].bytes, 4u);
  }
}

TEST(Gguf, KeepsTheExtremesOfEveryIntegerWidth) {
  GgufTestWriter writer;
  writer.number<uint8_t>("u8", 0, 255)
      .number<int8_t>("i8", 1, -128)
      .number<uint16_t>("u16", 2, 65535)
      .number<int16_t>("i16", 3, -32768)
      .number<int32_t>("i32", 5, std::numeric_limits<int32_t>::min())
      .number<uint64_t>("u64", 10, UINT64_MAX)
      .number<int64_t>("i64", 11, INT64_MIN)
      .number<double>("f64", 12, 1e300)
      .numbers<uint64_t>("large", 10, {1, UINT64_MAX})
      .numbers<uint64_t>("small", 10, {1, 2});
  const auto container = parse(writer.finish());
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(value<int64_t>(*container, "u8"), 255);
  EXPECT_EQ(value<int64_t>(*container, "i8"), -128);
  EXPECT_EQ(value<int64_t>(*container, "u16"), 65535);
  EXPECT_EQ(value<int64_t>(*container, "i16"), -32768);
  EXPECT_EQ(value<int64_t>(*container, "i32"), std::numeric_limits<int32_t>::min());
  EXPECT_EQ(value<uint64_t>(*container, "u64"), UINT64_MAX);
  EXPECT_EQ(value<int64_t>(*container, "i64"), INT64_MIN);
  EXPECT_EQ(value<double>(*container, "f64"), 1e300);
  EXPECT_EQ(value<std::vector<uint64_t>>(*container, "large")[1], UINT64_MAX);
  EXPECT_EQ(value<std::vector<int64_t>>(*container, "small")[1], 2);
}

std::string array_head(uint32_t type, uint64_t count) {
  std::string out(12, '\0');
  std::memcpy(out.data(), &type, 4);
  std::memcpy(out.data() + 4, &count, 8);
  return out;
}

TEST(Gguf, ReadsArraysOfArraysInOrderAndLimitsTheirDepth) {
  // [[], ["x"], [[1, 2]]]: the array is of arrays, its third member too.
  const std::string text_x = std::string("\x01\0\0\0\0\0\0\0x", 9);
  const std::string nested = array_head(9, 3) + array_head(9, 0) + array_head(8, 1) + text_x +
                             array_head(9, 1) + array_head(0, 2) + "\x01\x02";
  const auto container = parse(GgufTestWriter().raw("nested", 9, nested).u32("after", 5).finish());
  ASSERT_TRUE(container) << container.error().message;
  const auto& outer = value<MetadataArrays>(*container, "nested");
  ASSERT_EQ(outer.size(), 3u);
  EXPECT_TRUE(std::get<MetadataArrays>(outer[0].value).empty());
  EXPECT_EQ(std::get<std::vector<std::string>>(outer[1].value)[0], "x");
  const auto& inner = std::get<MetadataArrays>(outer[2].value);
  EXPECT_EQ(std::get<std::vector<int64_t>>(inner[0].value), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(value<int64_t>(*container, "after"), 5);

  std::string deep;
  for (int i = 0; i < 100'000; ++i) deep += array_head(9, 1);
  expect_refused(GgufTestWriter().raw("deep", 9, deep + array_head(0, 0)).finish(),
                 ErrorCode::kUnsupported, "nests arrays more than 16 deep");
}

TEST(Gguf, RefusesAFileTruncatedAtAnyByte) {
  const std::string file = small_file();
  const auto whole = parse(file);
  ASSERT_TRUE(whole);
  const TensorInfo& last = whole->tensors.back();
  // The padding after the last tensor holds nothing that anyone could miss.
  for (size_t size = 0; size < last.offset + last.bytes; ++size) {
    const std::string cut = file.substr(0, size);
    const auto result = parse(cut);
    ASSERT_FALSE(result) << "accepted at " << size << " bytes";
    EXPECT_EQ(result.error().code, ErrorCode::kBadFile) << size;
  }
  EXPECT_TRUE(parse(file.substr(0, last.offset + last.bytes)));
}

TEST(Gguf, SurvivesEveryByteTurnedIntoEveryValue) {
  const std::string file = small_file();
  for (size_t i = 0; i < file.size(); ++i) {
    for (const int byte : {0x00, 0x01, 0x7F, 0x80, 0xFF}) {
      std::string changed = file;
      changed[i] = static_cast<char>(byte);
      const auto result = parse(changed);
      if (!result) continue;
      for (const TensorInfo& tensor : result->tensors) {
        ASSERT_LE(tensor.offset + tensor.bytes, file.size()) << "byte " << i << " = " << byte;
      }
    }
  }
}

TEST(Gguf, SaysWhichVersionAndByteOrderItCannotRead) {
  expect_refused("GGML" + std::string(20, '\0'), ErrorCode::kBadFile, "wanted \"GGUF\"");
  expect_refused(small_file(1), ErrorCode::kUnsupported, "version 1");
  expect_refused(small_file(4), ErrorCode::kUnsupported, "version 4");
  expect_refused(small_file(0), ErrorCode::kBadFile, "version 0");
  expect_refused(small_file(0x03000000), ErrorCode::kUnsupported, "big-endian");
}

TEST(Gguf, AllocatesNothingForACountThatCannotBe) {
  for (const uint64_t count : {uint64_t{1} << 20, uint64_t{1} << 61, UINT64_MAX}) {
    GgufTestWriter many_tensors;
    many_tensors.num_tensors = count;
    expect_refused(many_tensors.finish(), ErrorCode::kBadFile, "tensor list");
    GgufTestWriter many_entries;
    many_entries.num_entries = count;
    expect_refused(many_entries.finish(), ErrorCode::kBadFile, "metadata");
    for (const uint32_t type : {0u, 4u, 7u, 8u, 9u, 10u}) {
      expect_refused(GgufTestWriter().raw("list", 9, array_head(type, count)).finish(),
                     ErrorCode::kBadFile, "metadata \"list\"");
    }
    std::string text(8, '\0');
    std::memcpy(text.data(), &count, 8);
    expect_refused(GgufTestWriter().raw("text", 8, text).finish(), ErrorCode::kBadFile,
                   "metadata \"text\"");
  }
}

TEST(Gguf, RefusesWrongValues) {
  expect_refused(GgufTestWriter().u32("k", 1).u32("k", 2).finish(), ErrorCode::kBadFile,
                 "\"k\" stands twice");
  expect_refused(GgufTestWriter().u32("", 1).finish(), ErrorCode::kBadFile, "key of 0 bytes");
  expect_refused(GgufTestWriter().u32(std::string(65536, 'k'), 1).finish(), ErrorCode::kBadFile,
                 "key of 65536 bytes");
  EXPECT_TRUE(parse(GgufTestWriter().u32(std::string(65535, 'k'), 1).finish()));
  expect_refused(GgufTestWriter().raw("k", 13, "abcdefgh").finish(), ErrorCode::kBadFile,
                 "value type 13");
  expect_refused(GgufTestWriter().raw("k", 9, array_head(13, 0)).finish(), ErrorCode::kBadFile,
                 "array of value type 13");
  expect_refused(GgufTestWriter().boolean("k", 2).finish(), ErrorCode::kBadFile, "bool 2");
  expect_refused(GgufTestWriter().numbers<uint8_t>("k", 7, {1, 0, 255}).finish(),
                 ErrorCode::kBadFile, "bool 255");
}

TEST(Gguf, HonoursASoundAlignmentAndRefusesAnyOther) {
  for (const uint32_t alignment : {8u, 32u, 4096u}) {
    const std::string file = GgufTestWriter()
                                 .set_alignment(alignment)
                                 .tensor("a", 0, {1}, "aaaa")
                                 .tensor("b", 0, {1}, "bbbb")
                                 .finish();
    const auto container = parse(file);
    ASSERT_TRUE(container) << container.error().message;
    EXPECT_EQ(container->tensors[1].offset % alignment, 0u);
    EXPECT_EQ(file.substr(container->tensors[1].offset, 4), "bbbb");
  }
  for (const uint32_t alignment : {0u, 3u, 48u, 1u << 21, UINT32_MAX}) {
    expect_refused(GgufTestWriter().u32("general.alignment", alignment).finish(),
                   ErrorCode::kBadFile, "power of two");
  }
  expect_refused(GgufTestWriter().number<uint64_t>("general.alignment", 10, 32).finish(),
                 ErrorCode::kBadFile, "value type 10");
  expect_refused(GgufTestWriter().text("general.alignment", "32").finish(), ErrorCode::kBadFile,
                 "value type 8");
  expect_refused(GgufTestWriter().numbers<uint32_t>("general.alignment", 4, {32}).finish(),
                 ErrorCode::kBadFile, "value type 9");
}

TEST(Gguf, RefusesTensorsThatCannotBe) {
  const std::string data(4096, 'd');
  auto one = [&](const std::vector<uint64_t>& dims, uint32_t type = 0, uint64_t offset = 0) {
    return GgufTestWriter().tensor("fill", 24, {4096}, data).tensor_at("t", type, dims, offset);
  };
  const uint64_t huge = uint64_t{1} << 32;
  expect_refused(one({huge, huge}).finish(), ErrorCode::kBadFile, "multiply to more");
  expect_refused(one({huge, huge, huge, huge}).finish(), ErrorCode::kBadFile, "multiply to more");
  expect_refused(one({UINT64_MAX}).finish(), ErrorCode::kBadFile, "multiply to more");
  expect_refused(one({uint64_t{1} << 62}).finish(), ErrorCode::kBadFile, "more bytes than");
  expect_refused(one({0}).finish(), ErrorCode::kBadFile, "size 0");
  expect_refused(one({4, 0}).finish(), ErrorCode::kBadFile, "size 0");
  expect_refused(one({1, 1, 1, 1, 1}).finish(), ErrorCode::kBadFile, "5 dimensions");
  expect_refused(one({33}, 8).finish(), ErrorCode::kBadFile, "blocks of 32");
  expect_refused(one({1}, 8).finish(), ErrorCode::kBadFile, "blocks of 32");
  expect_refused(one({}, 8).finish(), ErrorCode::kBadFile, "blocks of 32");
  expect_refused(one({1}, 43).finish(), ErrorCode::kUnsupported, "type number 43");
  expect_refused(one({1}, 4).finish(), ErrorCode::kUnsupported, "type number 4,");
  expect_refused(one({1}, 0, 4096).finish(), ErrorCode::kBadFile, "ends before");
  expect_refused(one({1}, 0, 0 - uint64_t{32}).finish(), ErrorCode::kBadFile, "ends before");
  expect_refused(one({1}, 0, 4).finish(), ErrorCode::kBadFile, "no multiple of the alignment 32");
  expect_refused(one({1}, 0, 0).finish(), ErrorCode::kBadFile, "overlap");
  expect_refused(one({1}, 0, 4064).finish(), ErrorCode::kBadFile, "overlap");
}

TEST(Gguf, LimitsTensorNamesAndRefusesTwins) {
  EXPECT_TRUE(parse(GgufTestWriter().tensor(std::string(64, 'n'), 0, {1}, "1234").finish()));
  expect_refused(GgufTestWriter().tensor(std::string(65, 'n'), 0, {1}, "1234").finish(),
                 ErrorCode::kBadFile, "name of 65 bytes");
  expect_refused(GgufTestWriter().tensor("t", 0, {1}, "1").tensor("t", 0, {1}, "1234").finish(),
                 ErrorCode::kBadFile, "two tensors of the name \"t\"");
  expect_refused(GgufTestWriter().tensor_at("a\n\x1b[31m", 0, {0}, 0).finish(), ErrorCode::kBadFile,
                 "\"a??[31m\"");
}

TEST(Gguf, AcceptsTensorsInAnyOrderWithGaps) {
  const std::string file = GgufTestWriter()
                               .tensor("fill", 24, {32}, std::string(256, 'x'))
                               .tensor_at("late", 0, {8}, 128)
                               .tensor_at("early", 0, {8}, 64)
                               .finish();
  const auto container = parse(file);
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_EQ(container->tensors[1].name, "late");
  EXPECT_GT(container->tensors[1].offset, container->tensors[2].offset);
}

TEST(Gguf, ListsTensorsOfTypesThatCannotBeComputedYet) {
  for (const GgufType& type : gguf_types()) {
    const std::string data(type.block_bytes * 2, 'x');
    const auto container =
        parse(GgufTestWriter().tensor("t", type.number, {type.block_values, 2}, data).finish());
    ASSERT_TRUE(container) << container.error().message;
    EXPECT_EQ(container->tensors[0].type_name, type.name);
    EXPECT_EQ(container->tensors[0].bytes, data.size());
    EXPECT_EQ(container->tensors[0].dtype, DType::from_gguf_type(type.number));
  }
}

TEST(Gguf, TypeTableAgreesWithTheStorageFormats) {
  for (const DType dtype : DType::all()) {
    if (dtype.gguf_type() < 0) continue;
    const auto types = gguf_types();
    const auto row = std::find_if(types.begin(), types.end(), [&](const GgufType& type) {
      return type.number == static_cast<uint32_t>(dtype.gguf_type());
    });
    ASSERT_NE(row, types.end()) << dtype.name();
    EXPECT_EQ(row->block_values, dtype.block_values()) << dtype.name();
    EXPECT_EQ(row->block_bytes, dtype.block_bytes()) << dtype.name();
    std::string lower(row->name);
    for (char& c : lower) c = static_cast<char>(std::tolower(c));
    EXPECT_EQ(lower, dtype.name());
  }
}

}  // namespace
}  // namespace quern
