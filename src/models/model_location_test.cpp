#include "models/model_location.h"

#include <gtest/gtest.h>

#include <map>

#include "models/test_models.h"

namespace quern {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kGguf = "GGUF\3\0\0\0";

TEST(LocateModel, TellsKindsOfPathsApart) {
  const TemporaryFolder folder;
  folder.write("hf/config.json", "{}");
  folder.write("hf/model.safetensors", "");
  folder.write("one/anything.gguf", kGguf);
  folder.write("odd-name", std::string_view("GGUF\3\0\0\0", 8));

  const auto hf = locate_model((folder.path() / "hf").string(), {});
  ASSERT_TRUE(hf) << hf.error().message;
  EXPECT_EQ(hf->name, "hf");
  EXPECT_EQ(hf->folder, folder.path() / "hf");
  EXPECT_EQ(hf->weights, folder.path() / "hf");

  const auto file = locate_model((folder.path() / "hf" / "model.safetensors").string(), {});
  ASSERT_TRUE(file) << file.error().message;
  EXPECT_EQ(file->folder, folder.path() / "hf");
  EXPECT_EQ(file->weights.filename(), "model.safetensors");

  const auto one = locate_model((folder.path() / "one/").string(), {});
  ASSERT_TRUE(one) << one.error().message;
  EXPECT_EQ(one->weights.filename(), "anything.gguf");
  EXPECT_EQ(one->name, "one");

  const auto odd = locate_model((folder.path() / "odd-name").string(), {});
  ASSERT_TRUE(odd) << odd.error().message;
  EXPECT_TRUE(odd->folder.empty());  // GGUF by content
}

TEST(LocateModel, RefusesWhatItCannotLoadAndSaysWhy) {
  const TemporaryFolder folder;
  folder.write("x.onnx", "onnx");
  folder.write("onnx/model.onnx", "onnx");
  folder.write("pickle/pytorch_model.bin", "x");
  folder.write("many/a.gguf", kGguf);
  folder.write("many/b.gguf", kGguf);
  folder.write("none/readme.txt", "x");
  const auto code = [&](std::string_view name) {
    return locate_model((folder.path() / name).string(), {}).error().code;
  };
  EXPECT_EQ(code("x.onnx"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("onnx"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("pickle"), ErrorCode::kUnsupported);
  EXPECT_EQ(code("many"), ErrorCode::kNotFound);
  EXPECT_EQ(code("none"), ErrorCode::kNotFound);
  EXPECT_EQ(code("missing"), ErrorCode::kNotFound);
  EXPECT_EQ(locate_model("", {}).error().code, ErrorCode::kNotFound);
}

TEST(LocateModel, FindsAHubIdInTheCacheByItsMainRevision) {
  const TemporaryFolder folder;
  const fs::path root = folder.path() / "hub";
  folder.write("hub/models--org--name/refs/main", "abc123\n");
  folder.write("hub/models--org--name/snapshots/abc123/model.safetensors", "");
  folder.write("hub/models--org--name/snapshots/def456/other", "");
  folder.write("hub/models--gone--name/refs/main", "abc123");
  folder.write("hub/models--bad--name/refs/main", "../../etc");
  folder.write("hub/models--alone/snapshots/ff/model.safetensors", "");
  const ModelPlaces places{.demo = {}, .hub_cache = root};

  const auto found = locate_model("org/name", places);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(found->name, "org/name");
  EXPECT_EQ(found->folder, root / "models--org--name/snapshots/abc123");
  const auto alone = locate_model("alone", places);
  ASSERT_TRUE(alone) << alone.error().message;
  EXPECT_EQ(alone->folder.filename(), "ff");

  EXPECT_EQ(locate_model("gone/name", places).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(locate_model("bad/name", places).error().code, ErrorCode::kBadFile);
  EXPECT_EQ(locate_model("org/../name", places).error().code, ErrorCode::kNotFound);
  EXPECT_EQ(locate_model("never/fetched", places).error().code, ErrorCode::kNotFound);
}

TEST(LocateModel, DemoIsAWordUnlessThereIsSuchAPath) {
  const TemporaryFolder folder;
  const ModelPlaces places{.demo = folder.write("demo.gguf", std::string_view("GGUF\3\0\0\0", 8)),
                           .hub_cache = {}};
  const auto demo = locate_model("demo", places);
  ASSERT_TRUE(demo) << demo.error().message;
  EXPECT_EQ(demo->weights.filename(), "demo.gguf");
  EXPECT_EQ(demo->name, "demo");
  EXPECT_EQ(locate_model("demo", {.demo = folder.path() / "no", .hub_cache = {}}).error().code,
            ErrorCode::kNotFound);
}

TEST(HubCacheFolder, FollowsTheVariablesInTheirOrder) {
  std::map<std::string, std::string, std::less<>> variables;
  const auto folder = [&] {
    return hub_cache_folder([&](std::string_view name) -> std::optional<std::string> {
      const auto found = variables.find(name);
      return found == variables.end() ? std::nullopt : std::optional(found->second);
    });
  };
  EXPECT_TRUE(folder().empty());
  variables["HOME"] = "/h";
  EXPECT_EQ(folder(), "/h/.cache/huggingface/hub");
  variables["XDG_CACHE_HOME"] = "/x";
  EXPECT_EQ(folder(), "/x/huggingface/hub");
  variables["HF_HOME"] = "/f";
  EXPECT_EQ(folder(), "/f/hub");
  variables["HF_HUB_CACHE"] = "/c";
  EXPECT_EQ(folder(), "/c");
  variables["HF_HUB_CACHE"] = "";
  EXPECT_EQ(folder(), "/f/hub");
}

}  // namespace
}  // namespace quern
