#include "checkpoint/gguf_writer.h"

#include <gtest/gtest.h>

#include <random>

#include "base/cat.h"
#include "checkpoint/test_files.h"

namespace quern {
namespace {

/// The whole file of a layout: tensor i is filled with the byte 'a' + i.
std::string file_of(const GgufLayout& layout, const std::vector<GgufTensor>& tensors) {
  std::string file = layout.head;
  file.resize(layout.file_bytes);
  for (size_t i = 0; i < tensors.size(); ++i) {
    file.replace(layout.offsets[i], tensors[i].num_bytes(), tensors[i].num_bytes(),
                 static_cast<char>('a' + i));
  }
  return file;
}

GgufEntries all_kinds() {
  GgufEntries entries;
  entries.text("general.architecture", "llama");
  entries.u32("a.u32", 4'000'000'000u);
  entries.i32("a.i32", -7);
  entries.f32("a.f32", 0.1f);
  entries.boolean("a.bool", true);
  entries.i32s("a.i32s", std::vector<int32_t>{-1, 0, 7});
  entries.f32s("a.f32s", std::vector<float>{-1000.0f, 0.5f});
  entries.booleans("a.bools", {true, false, true});
  entries.texts("a.texts", std::vector<std::string>{"", "caf\xC3\xA9", "x"});
  return entries;
}

TEST(GgufWriter, WhatIsWrittenIsRead) {
  const GgufEntries entries = all_kinds();
  const std::vector<GgufTensor> tensors = {
      {"one", 0, {5}}, {"two", 8, {3, 2, 64}}, {"three", 30, {2, 9}}, {"a.scalar", 26, {}}};
  const auto layout = lay_out_gguf(entries, tensors, 32);
  ASSERT_TRUE(layout) << layout.error().message;
  const std::string file = file_of(*layout, tensors);
  const auto container = parse_gguf(bytes_of(file), "written");
  ASSERT_TRUE(container) << container.error().message;

  const auto value = [&](std::string_view key) {
    return container->metadata.find(key)->second.value;
  };
  EXPECT_EQ(container->metadata.size(), entries.count());
  EXPECT_EQ(std::get<std::string>(value("general.architecture")), "llama");
  EXPECT_EQ(std::get<int64_t>(value("a.u32")), 4'000'000'000);
  EXPECT_EQ(std::get<int64_t>(value("a.i32")), -7);
  EXPECT_EQ(std::get<double>(value("a.f32")), static_cast<double>(0.1f));
  EXPECT_EQ(std::get<bool>(value("a.bool")), true);
  EXPECT_EQ(std::get<std::vector<int64_t>>(value("a.i32s")), (std::vector<int64_t>{-1, 0, 7}));
  EXPECT_EQ(std::get<std::vector<double>>(value("a.f32s")), (std::vector<double>{-1000.0, 0.5}));
  EXPECT_EQ(std::get<std::vector<bool>>(value("a.bools")), (std::vector<bool>{true, false, true}));
  EXPECT_EQ(std::get<std::vector<std::string>>(value("a.texts")),
            (std::vector<std::string>{"", "caf\xC3\xA9", "x"}));

  ASSERT_EQ(container->tensors.size(), tensors.size());
  for (size_t i = 0; i < tensors.size(); ++i) {
    const TensorInfo& tensor = container->tensors[i];
    EXPECT_EQ(tensor.name, tensors[i].name);
    EXPECT_EQ(tensor.shape, tensors[i].shape);
    EXPECT_EQ(tensor.offset, layout->offsets[i]);
    EXPECT_EQ(tensor.bytes, tensors[i].num_bytes());
    EXPECT_EQ(file[tensor.offset + tensor.bytes - 1], static_cast<char>('a' + i));
  }
}

TEST(GgufWriter, AnyListOfTensorsIsLaidOutAsTheReaderWantsIt) {
  std::mt19937 random(11);
  const std::vector<GgufType> types(gguf_types().begin(), gguf_types().end());
  for (int round = 0; round < 200; ++round) {
    const uint64_t alignment = uint64_t{8} << random() % 6;
    GgufEntries entries;
    entries.u32("general.alignment", static_cast<uint32_t>(alignment));
    std::vector<GgufTensor> tensors;
    for (size_t i = 0; i < random() % 8; ++i) {
      const GgufType& type = types[random() % types.size()];
      GgufTensor tensor{cat("t", i), type.number, {}};
      for (size_t dims = random() % 3; dims > 0; --dims) {
        tensor.shape.push_back(static_cast<int64_t>(1 + random() % 3));
      }
      tensor.shape.push_back(static_cast<int64_t>((1 + random() % 4) * type.block_values));
      tensors.push_back(std::move(tensor));
    }
    const auto layout = lay_out_gguf(entries, tensors, alignment);
    ASSERT_TRUE(layout);
    const std::string file = file_of(*layout, tensors);
    const auto container = parse_gguf(bytes_of(file), "written");
    ASSERT_TRUE(container) << container.error().message;
    ASSERT_EQ(container->tensors.size(), tensors.size());
    for (size_t i = 0; i < tensors.size(); ++i) {
      ASSERT_EQ(container->tensors[i].name, tensors[i].name);
      ASSERT_EQ(container->tensors[i].shape, tensors[i].shape);
      ASSERT_EQ(container->tensors[i].offset, layout->offsets[i]);
    }
  }
}

TEST(GgufWriter, CopiedEntriesAreTheSameBytes) {
  GgufTestWriter other;
  other.number<int8_t>("an.i8", 1, -5);
  other.number<uint64_t>("a.u64", 10, ~uint64_t{0});
  other.numbers<uint16_t>("some.u16", 9 - 7, {1, 2, 3});
  other.text("a.text", "words");
  const std::string source = other.finish();
  const auto read = gguf_entries(bytes_of(source), "source");
  ASSERT_TRUE(read) << read.error().message;
  ASSERT_EQ(read->size(), 4u);
  GgufEntries entries;
  for (const GgufEntry& entry : *read) {
    if (entry.key != "a.text") entries.copy(entry);
  }
  entries.text("a.text", "words");
  const auto layout = lay_out_gguf(entries, {}, 32);
  ASSERT_TRUE(layout);
  EXPECT_EQ(layout->head.substr(24, entries.bytes().size()), source.substr(24));
}

TEST(GgufWriter, RefusesWhatTheFormatCannotHold) {
  const auto code = [](GgufTensor tensor) {
    const auto layout = lay_out_gguf({}, std::vector<GgufTensor>{std::move(tensor)}, 32);
    return layout ? ErrorCode::kInternal : layout.error().code;
  };
  EXPECT_EQ(code({std::string(64, 'n'), 0, {1}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({"", 0, {1}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({"no such type", ~uint32_t{0}, {1}}), ErrorCode::kUnsupported);
  EXPECT_EQ(code({"deep", 0, {1, 1, 1, 1, 1}}), ErrorCode::kUnsupported);
}

TEST(GgufWriter, EveryDTypeHasItsFileType) {
  EXPECT_EQ(gguf_file_type(DType::of<F32>()), 0u);
  EXPECT_EQ(gguf_file_type(DType::of<Q8_0>()), 7u);
  for (const DType dtype : DType::all()) {
    if (dtype.gguf_type() < 0) continue;
    EXPECT_LT(gguf_file_type(dtype), 1024u) << dtype.name();
  }
}

}  // namespace
}  // namespace quern
