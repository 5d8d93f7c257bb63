#include "checkpoint/container_listing.h"

#include <gtest/gtest.h>

#include <cmath>

#include "checkpoint/test_files.h"
#include "checkpoint/weight_file.h"

namespace quern {
namespace {

std::string listing(const std::string& file) {
  const auto container = parse_weight_file(bytes_of(file), "x");
  return container ? dump_json(container_json(*container)) : container.error().message;
}

TEST(ContainerListing, ListsAGgufWithTensorsThatCannotBeComputed) {
  const std::string file = GgufTestWriter()
                               .text("text", "a\"b")
                               .u32("int", 3)
                               .f32("float", 0.5f)
                               .f32("nan", std::nanf(""))
                               .boolean("bool", 1)
                               .number("u64", 10, UINT64_MAX)
                               .texts("texts", {"x", ""})
                               .numbers<int32_t>("ints", 5, {-1, 2})
                               .numbers<uint8_t>("bools", 7, {0, 1})
                               .tensor("late", 14, {256, 2}, std::string(420, 'x'))
                               .tensor("early", 0, {3}, std::string(12, 'x'))
                               .finish();
  const uint64_t data = file.size() - 448 - 32;
  EXPECT_EQ(listing(file),
            R"({"schema":1,"format":"gguf","metadata":{"bool":true,"bools":[false,true],)"
            R"("float":0.5,"int":3,"ints":[-1,2],"nan":null,"text":"a\"b","texts":["x",""],)"
            R"("u64":18446744073709551615},"tensors":[)"
            R"({"name":"late","dtype":"Q6_K","shape":[2,256],"offset":)" +
                std::to_string(data) +
                R"(,"bytes":420},{"name":"early","dtype":"F32","shape":[3],"offset":)" +
                std::to_string(data + 448) + R"(,"bytes":12}]})");
}

TEST(ContainerListing, ListsSafetensorsWithAndWithoutMetadata) {
  EXPECT_EQ(listing(safetensors_file("{}", "")),
            R"({"schema":1,"format":"safetensors","metadata":{},"tensors":[]})");
  EXPECT_EQ(listing(safetensors_file(R"({"__metadata__":{"format":"pt"},)"
                                     R"("t":{"dtype":"F8_E4M3","shape":[],"data_offsets":[0,1]}})",
                                     "x")),
            R"({"schema":1,"format":"safetensors","metadata":{"format":"pt"},)"
            R"("tensors":[{"name":"t","dtype":"F8_E4M3","shape":[],"offset":96,"bytes":1}]})");
}

TEST(ContainerListing, ListsArraysOfArrays) {
  std::string nested;
  for (const auto& [type, count] : {std::pair(9u, 2), {0u, 1}, {0u, 0}}) {
    const uint64_t wide = static_cast<uint64_t>(count);
    nested.append(reinterpret_cast<const char*>(&type), 4);
    nested.append(reinterpret_cast<const char*>(&wide), 8);
    if (type == 0 && count == 1) nested += '\x07';
  }
  EXPECT_EQ(listing(GgufTestWriter().raw("n", 9, nested).finish()),
            R"({"schema":1,"format":"gguf","metadata":{"n":[[7],[]]},"tensors":[]})");
}

TEST(ContainerListing, RefusesWhatIsMissingOrNotAWeightFile) {
  EXPECT_EQ(list_container("/nonexistent.gguf").error().code, ErrorCode::kNotFound);
  EXPECT_EQ(list_container("/dev/null").error().code, ErrorCode::kBadFile);
  EXPECT_EQ(parse_weight_file({}, "m.onnx").error().code, ErrorCode::kUnsupported);
}

}  // namespace
}  // namespace quern
