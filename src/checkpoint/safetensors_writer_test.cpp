#include "checkpoint/safetensors_writer.h"

#include <gtest/gtest.h>

#include "checkpoint/safetensors.h"
#include "checkpoint/test_files.h"

namespace quern {
namespace {

TEST(SafetensorsWriter, WhatIsWrittenIsRead) {
  const std::vector<SafetensorsTensor> tensors = {{"a \"quoted\" name", "F32", {2, 3}, 24},
                                                  {"vector", "BF16", {5}, 10},
                                                  {"scalar", "I8", {}, 1},
                                                  {"bytes", "I8", {3, 1}, 3}};
  std::string file = safetensors_head(tensors);
  const size_t data = file.size();
  EXPECT_EQ(data % 8, 0u);
  file.resize(data + 24 + 10 + 1 + 3);
  const auto container = parse_safetensors(bytes_of(file), "written");
  ASSERT_TRUE(container) << container.error().message;
  ASSERT_EQ(container->tensors.size(), tensors.size());
  uint64_t offset = data;
  for (size_t i = 0; i < tensors.size(); ++i) {
    EXPECT_EQ(container->tensors[i].name, tensors[i].name);
    EXPECT_EQ(container->tensors[i].type_name, tensors[i].type);
    EXPECT_EQ(container->tensors[i].shape, tensors[i].shape);
    EXPECT_EQ(container->tensors[i].offset, offset);
    EXPECT_EQ(container->tensors[i].bytes, tensors[i].bytes);
    offset += tensors[i].bytes;
  }
}

TEST(SafetensorsWriter, AFileWithoutTensorsIsRead) {
  const std::string file = safetensors_head({});
  const auto container = parse_safetensors(bytes_of(file), "written");
  ASSERT_TRUE(container) << container.error().message;
  EXPECT_TRUE(container->tensors.empty());
}

}  // namespace
}  // namespace quern
