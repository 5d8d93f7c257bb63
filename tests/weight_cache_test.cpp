// The packed-weights cache from outside: the same answer with and without it, whatever becomes of
// its file and of those who write it.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/cat.h"
#include "process.h"

namespace quern {
namespace {

class WeightCacheCli : public testing::Test {
 protected:
  WeightCacheCli() { std::filesystem::remove_all(folder_); }
  ~WeightCacheCli() override { std::filesystem::remove_all(folder_); }

  ProcessResult story(const std::string& cache) const {
    return run_quern({"run", "demo", "Once", "--dtype", "f32", "--temperature", "0", "-n", "8",
                      "--weight-cache", cache});
  }
  std::vector<std::filesystem::path> files() const {
    std::vector<std::filesystem::path> paths;
    if (!std::filesystem::exists(folder_)) return paths;
    for (const auto& entry : std::filesystem::directory_iterator(folder_)) {
      paths.push_back(entry.path());
    }
    return paths;
  }

  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / cat("quern_weight_cache_cli_", ::getpid());
  ProcessResult plain_ = story("off");
};

TEST_F(WeightCacheCli, TheSecondStartGivesTheAnswerOfTheFirst) {
  EXPECT_TRUE(files().empty());
  EXPECT_EQ(story(folder_).out, plain_.out);
  ASSERT_EQ(files().size(), 1u);
  const auto written = std::filesystem::last_write_time(files()[0]);
  const ProcessResult again = story(folder_);
  EXPECT_EQ(again.out, plain_.out);
  EXPECT_EQ(again.err, plain_.err);
  ASSERT_EQ(files().size(), 1u);
  EXPECT_GT(std::filesystem::last_write_time(files()[0]), written) << "used, so it is kept longer";
}

TEST_F(WeightCacheCli, TheUsersCacheFolderIsTheDefault) {
  const ProcessResult result =
      run_quern({"run", "demo", "Once", "--dtype", "f32", "--temperature", "0", "-n", "8"}, {},
                {cat("XDG_CACHE_HOME=", folder_.string())});
  EXPECT_EQ(result.out, plain_.out);
  EXPECT_EQ(files(), std::vector{folder_ / "quern"});
}

TEST_F(WeightCacheCli, ADamagedFileIsSaidAndReplaced) {
  (void)story(folder_);
  ASSERT_EQ(files().size(), 1u);
  const auto size = std::filesystem::file_size(files()[0]);
  {
    std::fstream file(files()[0], std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(size / 2));
    file << "damage";
  }
  const ProcessResult warned = story(folder_);
  EXPECT_EQ(warned.out, plain_.out);
  EXPECT_NE(warned.err.find("damaged part; the weights are packed anew"), std::string::npos)
      << warned.err;
  EXPECT_EQ(story(folder_).err, plain_.err);
}

TEST_F(WeightCacheCli, KilledWhileItWritesItLeavesTheNextStartRight) {
  for (int milliseconds = 5; milliseconds <= 60; milliseconds += 5) {
    (void)run_in_shell(cat("\"$0\" run demo Once --dtype f32 -n 500 --weight-cache ",
                           folder_.string(), " > /dev/null 2>&1 & sleep 0.",
                           milliseconds < 10 ? "00" : "0", milliseconds, "; kill -9 $!; wait"));
    EXPECT_EQ(story(folder_).out, plain_.out);
    ASSERT_EQ(files().size(), 1u) << milliseconds;
    std::filesystem::remove(files()[0]);
  }
}

TEST_F(WeightCacheCli, TwoProcessesAtOnceAreRight) {
  const std::string one =
      cat("\"$0\" run demo Once --dtype f32 --temperature 0 -n 8 --weight-cache ", folder_.string(),
          " 2> /dev/null");
  const ProcessResult both = run_in_shell(cat(one, " > /dev/null & ", one, "; wait"));
  EXPECT_EQ(both.out, plain_.out);
  EXPECT_EQ(files().size(), 1u);
}

TEST_F(WeightCacheCli, AFolderThatCannotBeWrittenCostsAWarningOnly) {
  std::filesystem::create_directories(folder_);
  std::ofstream(folder_ / "file") << "x";
  const ProcessResult result = story(folder_ / "file" / "below");
  EXPECT_EQ(result.status, 0);
  EXPECT_EQ(result.out, plain_.out);
  EXPECT_NE(result.err.find("packed weights are not kept"), std::string::npos) << result.err;
}

}  // namespace
}  // namespace quern
