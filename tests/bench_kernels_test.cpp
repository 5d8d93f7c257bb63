// `quern bench kernels`: with the program that does it and without.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/cat.h"
#include "base/json.h"
#include "process.h"

namespace quern {
namespace {

Json parsed(const std::string& text) {
  const auto value = parse_json(text, "stdout");
  EXPECT_TRUE(value) << text;
  return value ? *value : Json();
}

bool is_built() {
  return std::filesystem::exists(std::string(QUERN_BINARY_DIR) + "/quern_bench_kernels");
}

TEST(BenchKernels, WithoutTheirLibraryTheCommandSaysSo) {
  const auto folder =
      std::filesystem::temp_directory_path() / cat("quern_bench_kernels_", ::getpid());
  std::filesystem::create_directories(folder);
  std::filesystem::copy_file(std::string(QUERN_BINARY_DIR) + "/quern", folder / "quern");
  const ProcessResult result =
      run_process({(folder / "quern").string(), "bench", "kernels", "--json"});
  std::filesystem::remove_all(folder);
  EXPECT_EQ(result.status, 5) << result.err;
  EXPECT_NE(result.last_error_line().find("libbenchmark-dev"), std::string::npos) << result.err;
  EXPECT_EQ(parsed(result.out)["error"]["code"], "unsupported");
}

TEST(BenchKernels, AKernelGivesItsRates) {
  if (!is_built()) GTEST_SKIP() << "google-benchmark was not found when this was configured";
  const std::string name = "multiply/q8_0/int8/avx2/1";
  const ProcessResult result =
      run_quern({"bench", "kernels", "--filter", cat("^", name, "$"), "--json"}, {},
                {"XDG_CACHE_HOME=/nonexistent"});
  ASSERT_EQ(result.status, 0) << result.err;
  const Json object = parsed(result.out);
  EXPECT_EQ(object["schema"], 1);
  ASSERT_EQ(object["rows"].size(), 1u);
  const Json& row = object["rows"][0];
  EXPECT_EQ(row["name"], name);
  EXPECT_EQ(row["format"], "q8_0");
  EXPECT_EQ(row["isa"], "avx2");
  EXPECT_EQ(row["tokens"], 1);
  EXPECT_GT(row["gb_s"].get<double>(), 0);
  EXPECT_GT(row["gop_s"].get<double>(), 0);
  // One token: two operations for each weight of 8.5 bits.
  EXPECT_NEAR(row["gop_s"].get<double>() / row["gb_s"].get<double>(), 16 / 8.5, 0.01);
  EXPECT_TRUE(row["share"].is_null());
  EXPECT_NE(result.err.find("quern doctor --ceilings"), std::string::npos) << result.err;
}

TEST(BenchKernels, AFilterThatMatchesNothingIsRefused) {
  if (!is_built()) GTEST_SKIP() << "google-benchmark was not found when this was configured";
  for (const char* filter : {"^no such kernel$", "("}) {
    const ProcessResult result = run_quern({"bench", "kernels", "--filter", filter, "--json"});
    EXPECT_EQ(result.status, 2) << result.err;
    EXPECT_TRUE(result.last_error_line().starts_with("error: --filter")) << result.err;
    EXPECT_EQ(parsed(result.out)["error"]["code"], "usage");
  }
}

}  // namespace
}  // namespace quern
