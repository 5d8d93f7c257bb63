#include "checkpoint/checkpoint.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include "base/cat.h"
#include "checkpoint/test_files.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

/// A folder of its own for each test, gone afterwards.
class CheckpointTest : public testing::Test {
 protected:
  CheckpointTest() {
    std::string pattern = (fs::temp_directory_path() / "quern-checkpoint-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
  }
  ~CheckpointTest() override { fs::remove_all(folder_); }

  fs::path write(const fs::path& name, std::string_view content) const {
    const fs::path path = folder_ / name;
    fs::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }

  static std::string shard(std::string_view tensor, std::string_view data) {
    return safetensors_file(
        cat(R"({"__metadata__":{"format":"pt"},")", tensor, R"(":{"dtype":"U8","shape":[)",
            data.size(), R"(],"data_offsets":[0,)", data.size(), "]}}"),
        data);
  }
  /// A folder of two shards and their index.
  void write_shards() const {
    write("m-1.safetensors", shard("b", "bbb"));
    write("m-2.safetensors", shard("a", "aaaaa"));
    write("model.safetensors.index.json",
          R"({"weight_map":{"a":"m-2.safetensors","b":"m-1.safetensors"}})");
  }
  static void expect_refused(const fs::path& path, ErrorCode code, std::string_view part) {
    const auto result = Checkpoint::open(path);
    ASSERT_FALSE(result) << "accepted, wanted: " << part;
    EXPECT_EQ(result.error().code, code) << result.error().message;
    EXPECT_NE(result.error().message.find(part), std::string::npos) << result.error().message;
  }
  static std::string text_of(const Checkpoint& checkpoint, std::string_view name) {
    const TensorInfo* tensor = checkpoint.find(name);
    if (tensor == nullptr) return "(none)";
    const auto bytes = checkpoint.bytes(*tensor);
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
  }

  fs::path folder_;
};

TEST_F(CheckpointTest, TellsTheFormatsApartByContentWhateverTheName) {
  const auto gguf = Checkpoint::open(
      write("a.bin", GgufTestWriter().text("k", "v").tensor("t", 24, {3}, "xyz").finish()));
  ASSERT_TRUE(gguf) << gguf.error().message;
  EXPECT_EQ(gguf->format(), Checkpoint::Format::kGguf);
  EXPECT_EQ(text_of(*gguf, "t"), "xyz");
  const auto safetensors = Checkpoint::open(write("blob", shard("t", "abc")));
  ASSERT_TRUE(safetensors) << safetensors.error().message;
  EXPECT_EQ(safetensors->format(), Checkpoint::Format::kSafetensors);
  EXPECT_EQ(text_of(*safetensors, "t"), "abc");
  EXPECT_EQ(*safetensors->text("format"), "pt");
  EXPECT_EQ(safetensors->find("T"), nullptr);
}

TEST_F(CheckpointTest, SortsTensorsByNameAndKeepsThemReadableAfterAMoveAndARelease) {
  const fs::path path = write("m.gguf", GgufTestWriter()
                                            .tensor("b", 24, {2}, "bb")
                                            .tensor("a", 24, {3}, "aaa")
                                            .tensor("c", 24, {1}, "c")
                                            .finish());
  auto opened = Checkpoint::open(path);
  ASSERT_TRUE(opened);
  const Checkpoint checkpoint = *std::move(opened);
  EXPECT_EQ(checkpoint.tensors()[0].name, "a");
  EXPECT_EQ(checkpoint.tensors()[2].name, "c");
  EXPECT_EQ(checkpoint.file_bytes(), fs::file_size(path));
  for (const TensorInfo& tensor : checkpoint.tensors()) checkpoint.release(tensor);
  EXPECT_EQ(text_of(checkpoint, "a"), "aaa");
  EXPECT_EQ(text_of(checkpoint, "b"), "bb");
}

TEST_F(CheckpointTest, MetadataIsFoundOnlyUnderItsOwnType) {
  const auto checkpoint = Checkpoint::open(write("m.gguf", GgufTestWriter()
                                                               .u32("int", 7)
                                                               .f32("float", 0.5f)
                                                               .boolean("bool", 1)
                                                               .text("text", "x")
                                                               .number("u64", 10, UINT64_MAX)
                                                               .texts("texts", {"a"})
                                                               .numbers<int8_t>("ints", 1, {-1})
                                                               .numbers<float>("floats", 6, {0.5f})
                                                               .numbers<uint8_t>("bools", 7, {1})
                                                               .finish()));
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(checkpoint->integer("int"), 7);
  EXPECT_EQ(checkpoint->number("int"), 7.0);
  EXPECT_EQ(checkpoint->number("u64"), 18446744073709551616.0);
  EXPECT_EQ(checkpoint->integer("u64"), std::nullopt);
  EXPECT_EQ(checkpoint->number("float"), 0.5);
  EXPECT_EQ(checkpoint->integer("float"), std::nullopt);
  EXPECT_EQ(checkpoint->boolean("bool"), true);
  EXPECT_EQ(checkpoint->boolean("int"), std::nullopt);
  EXPECT_EQ(checkpoint->integer("bool"), std::nullopt);
  EXPECT_EQ(*checkpoint->text("text"), "x");
  EXPECT_EQ(checkpoint->text("texts"), nullptr);
  EXPECT_EQ(checkpoint->texts("texts")->at(0), "a");
  EXPECT_EQ(checkpoint->integers("ints")->at(0), -1);
  EXPECT_EQ(checkpoint->integers("floats"), nullptr);
  EXPECT_EQ(checkpoint->numbers("floats")->at(0), 0.5);
  EXPECT_EQ(checkpoint->booleans("bools")->at(0), true);
  EXPECT_EQ(checkpoint->text("absent"), nullptr);
  EXPECT_EQ(checkpoint->number("absent"), std::nullopt);
}

TEST_F(CheckpointTest, ReadsAFolderOfOneFileOrOfShards) {
  write_shards();
  for (const fs::path& path : {folder_, folder_ / "model.safetensors.index.json"}) {
    const auto sharded = Checkpoint::open(path);
    ASSERT_TRUE(sharded) << sharded.error().message;
    EXPECT_EQ(sharded->files().size(), 2u);
    EXPECT_EQ(text_of(*sharded, "a"), "aaaaa");
    EXPECT_EQ(text_of(*sharded, "b"), "bbb");
    EXPECT_EQ(*sharded->text("format"), "pt");
  }
  write("model.safetensors", shard("whole", "w"));
  const auto single = Checkpoint::open(folder_);
  ASSERT_TRUE(single) << single.error().message;
  EXPECT_EQ(text_of(*single, "whole"), "w");
  EXPECT_EQ(single->tensors().size(), 1u);
}

TEST_F(CheckpointTest, ATensorTheIndexDoesNotPlaceInAShardIsLeftOut) {
  write_shards();
  write("model.safetensors.index.json", R"({"weight_map":{"a":"m-2.safetensors"}})");
  const auto checkpoint = Checkpoint::open(folder_);
  ASSERT_TRUE(checkpoint);
  EXPECT_EQ(checkpoint->tensors().size(), 1u);
}

TEST_F(CheckpointTest, NamesTheShardThatIsMissingAndTheTensorThatIsNotInIt) {
  write_shards();
  fs::remove(folder_ / "m-2.safetensors");
  expect_refused(folder_, ErrorCode::kNotFound, "m-2.safetensors: is missing");
  write("m-2.safetensors", shard("c", "ccc"));
  expect_refused(folder_, ErrorCode::kBadFile, "m-2.safetensors: lacks the tensor \"a\"");
  write("m-2.safetensors", shard("a", "aaaaa") + "x");
  expect_refused(folder_, ErrorCode::kBadFile, "bytes after the data");
}

TEST_F(CheckpointTest, FollowsLinksOutOfTheFolderAsTheHubCacheHasThem) {
  write("blobs/0123", shard("a", "aaa"));
  fs::create_directories(folder_ / "snapshot");
  fs::create_symlink("../blobs/0123", folder_ / "snapshot" / "model.safetensors");
  const auto checkpoint = Checkpoint::open(folder_ / "snapshot");
  ASSERT_TRUE(checkpoint) << checkpoint.error().message;
  EXPECT_EQ(text_of(*checkpoint, "a"), "aaa");
}

TEST_F(CheckpointTest, RefusesShardNamesThatLeadElsewhere) {
  write("secret.safetensors", shard("a", "aaa"));
  fs::create_directories(folder_ / "model");
  write("model/model.safetensors.index.json", R"({"weight_map":{"a":"../secret.safetensors"}})");
  expect_refused(folder_ / "model", ErrorCode::kBadFile, "plain file name");
}

TEST_F(CheckpointTest, SaysWhatIsMissing) {
  expect_refused(folder_ / "none", ErrorCode::kNotFound, "none");
  expect_refused(folder_, ErrorCode::kNotFound, "holds neither model.safetensors nor");
  write("x.gguf", "GGUF");
  expect_refused(folder_, ErrorCode::kNotFound, "name the file itself");
}

TEST_F(CheckpointTest, SaysWhatAFileIsThatItCannotRead) {
  expect_refused(write("empty", ""), ErrorCode::kBadFile, "neither");
  expect_refused(write("empty.gguf", ""), ErrorCode::kBadFile, "magic needs 4 bytes");
  expect_refused(write("empty.safetensors", ""), ErrorCode::kBadFile, "header length");
  expect_refused(write("m.gguf", "FUGG0000000000000000"), ErrorCode::kBadFile, "wanted \"GGUF\"");
  expect_refused(write("m.bin", "PK\x03\x04 and more"), ErrorCode::kUnsupported, "PyTorch");
  expect_refused(write("m.onnx", "\x08\x07"), ErrorCode::kUnsupported, "ONNX");
  const fs::path pipe = folder_ / "pipe.gguf";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_refused(pipe, ErrorCode::kBadFile, "not a regular file");
}

TEST_F(CheckpointTest, RefusesOnePartOfASplitGguf) {
  auto split = [](uint16_t parts) {
    return GgufTestWriter().number<uint16_t>("split.count", 2, parts).finish();
  };
  expect_refused(write("m-00001-of-00003.gguf", split(3)), ErrorCode::kUnsupported,
                 "one of the 3 parts of a split GGUF");
  EXPECT_TRUE(Checkpoint::open(write("m.gguf", split(1))));
}

/// The folder of test assets, or nothing where this machine lacks it.
std::optional<fs::path> assets() {
  const char* given = std::getenv("QUERN_TEST_ASSETS");
  const fs::path folder =
      given != nullptr ? fs::path(given) : fs::path(QUERN_SOURCE_DIR) / "../shared/assets";
  return fs::is_directory(folder) ? std::optional(folder) : std::nullopt;
}

TEST(CheckpointAssets, OpensTheModelFilesOfOtherPrograms) {
  if (!assets()) GTEST_SKIP() << "no test assets: set QUERN_TEST_ASSETS to their folder";
  const struct {
    std::string_view path;
    size_t num_tensors;
    std::string_view tensor, type_name;
    std::vector<int64_t> shape;
    uint64_t offset;
  } cases[] = {
      {"safetensors-small/tensor-1d-int32.safetensors", 1, "embedding", "I32", {3}, 72},
      {"safetensors-small/tensor-2d-float64.safetensors", 1, "embedding", "F64", {2, 3}, 80},
      {"safetensors-small/tensor-3d-float32.safetensors", 1, "embedding", "F32", {2, 2, 3}, 80},
      {"safetensors-small/tensor-4d-float32.safetensors", 1, "embedding", "F32", {2, 3, 1, 3}, 80},
      {"safetensors-small/minicpm3-4b-stub.safetensors",
       15,
       "model.norm.weight",
       "F32",
       {100},
       403144},
      {"gguf-llama-2-tiny-random/llama-2-tiny-random.gguf",
       12,
       "blk.0.ffn_down.weight",
       "F16",
       {8, 32},
       1237952},
  };
  for (const auto& expected : cases) {
    const auto checkpoint = Checkpoint::open(*assets() / "models" / expected.path);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_EQ(checkpoint->tensors().size(), expected.num_tensors) << expected.path;
    const TensorInfo* tensor = checkpoint->find(expected.tensor);
    ASSERT_NE(tensor, nullptr) << expected.path;
    EXPECT_EQ(tensor->type_name, expected.type_name);
    EXPECT_EQ(tensor->shape, expected.shape);
    EXPECT_EQ(tensor->offset, expected.offset);
  }
}

TEST(CheckpointAssets, OpensGgufFilesThatHoldAVocabularyAndNoTensors) {
  if (!assets()) GTEST_SKIP() << "no test assets: set QUERN_TEST_ASSETS to their folder";
  const struct {
    std::string_view path;
    size_t num_tokens, num_entries;
  } cases[] = {{"ggml-vocab-gpt-2.gguf", 50257, 16}, {"ggml-vocab-llama-spm.gguf", 32000, 22}};
  for (const auto& expected : cases) {
    const auto checkpoint =
        Checkpoint::open(*assets() / "tokenizers" / "ggml-vocab" / expected.path);
    ASSERT_TRUE(checkpoint) << checkpoint.error().message;
    EXPECT_TRUE(checkpoint->tensors().empty());
    EXPECT_EQ(checkpoint->metadata().size(), expected.num_entries);
    ASSERT_NE(checkpoint->texts("tokenizer.ggml.tokens"), nullptr);
    EXPECT_EQ(checkpoint->texts("tokenizer.ggml.tokens")->size(), expected.num_tokens);
    ASSERT_NE(checkpoint->integers("tokenizer.ggml.token_type"), nullptr);
    EXPECT_EQ(checkpoint->integers("tokenizer.ggml.token_type")->size(), expected.num_tokens);
  }
}

}  // namespace
}  // namespace quern
