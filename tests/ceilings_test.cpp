// What the machine can do, from outside: measured once, stored, shown again, and held against by
// the benchmarks.

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

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

/// A cache folder of its own, gone at the end.
class CeilingsCommand : public testing::Test {
 protected:
  CeilingsCommand()
      : folder_(std::filesystem::temp_directory_path() /
                cat("quern_cache_", ::getpid(), "_",
                    ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
  }
  ~CeilingsCommand() override { std::filesystem::remove_all(folder_); }

  ProcessResult run(std::vector<std::string> words) const {
    return run_quern(std::move(words), {}, {cat("XDG_CACHE_HOME=", folder_.string())});
  }
  std::filesystem::path file() const { return folder_ / "quern" / "ceilings.json"; }

 private:
  std::filesystem::path folder_;
};

constexpr const char* kContractKeys[] = {"l3_gb_s",        "int8_gop_s",  "bf16_gflop_s",
                                         "fp16_gflop_s",   "f32_gflop_s", "l2_gb_s",
                                         "amx_int8_gop_s", "barrier_us",  "wake_us"};

TEST_F(CeilingsCommand, AProbeIsQuickPartialAndNotStored) {
  const ProcessResult probe = run({"doctor", "--probe", "--threads", "1", "--json"});
  ASSERT_EQ(probe.status, 0) << probe.err;
  const Json ceilings = parsed(probe.out)["ceilings"];
  ASSERT_TRUE(ceilings.is_object()) << probe.out;
  EXPECT_TRUE(ceilings["f32_gflop_s"].is_null());
  EXPECT_TRUE(ceilings["read_gb_s"]["1"].is_number() || ceilings["int8_gop_s"].is_number());
  EXPECT_FALSE(std::filesystem::exists(file()));
  EXPECT_EQ(run({"doctor", "--probe", "--ceilings"}).status, 2);
}

TEST_F(CeilingsCommand, AreMeasuredOnceAndThenKnown) {
  const Json before = parsed(run({"doctor", "--json"}).out);
  EXPECT_TRUE(before["ceilings"].is_null());
  const int64_t cores = before["cpu"]["cores"].get<int64_t>();
  const std::string threads = cores > 1 ? "2" : "1";

  // Unknown ceilings are null, and stderr says once how to know them.
  const std::vector<std::string> bench = {"bench", "model", "-m", "demo", "-p",    "16", "-n",
                                          "4",     "-r",    "2",  "-t",   threads, "-o", "json"};
  const ProcessResult unknown = run(bench);
  ASSERT_EQ(unknown.status, 0) << unknown.err;
  for (const Json& row : parsed(unknown.out)) EXPECT_TRUE(row["share_of_ceiling"].is_null());
  const std::string advice = "quern doctor --ceilings";
  const size_t said = unknown.err.find(advice);
  ASSERT_NE(said, std::string::npos) << unknown.err;
  EXPECT_EQ(unknown.err.find("share_of_ceiling", said), std::string::npos) << unknown.err;

  const ProcessResult measured = run({"doctor", "--ceilings", "--threads", threads, "--json"});
  ASSERT_EQ(measured.status, 0) << measured.err;
  const Json report = parsed(measured.out);
  EXPECT_EQ(report["schema"], 1);
  const Json& ceilings = report["ceilings"];
  ASSERT_TRUE(ceilings.is_object()) << measured.out;
  const auto sane = [](const Json& value) {
    return value.is_null() || (value.get<double>() > 0 && value.get<double>() < 1e7);
  };
  for (const char* key : kContractKeys) {
    ASSERT_TRUE(ceilings.contains(key)) << key;
    EXPECT_TRUE(sane(ceilings[key])) << key << ceilings[key];
    EXPECT_TRUE(ceilings["spread"].contains(key)) << key;
    EXPECT_EQ(ceilings["spread"][key].is_null(), ceilings[key].is_null()) << key;
  }
  // What every CPU that quern runs on has.
  for (const char* key : {"int8_gop_s", "f32_gflop_s"}) EXPECT_TRUE(ceilings[key].is_number());
  ASSERT_TRUE(ceilings["read_gb_s"].is_object());
  for (const std::string& count : {std::string("1"), threads}) {
    EXPECT_TRUE(sane(ceilings["read_gb_s"][count]));
    EXPECT_TRUE(ceilings["by_threads"].contains(count));
  }
  const auto foreign_load = [&](const std::string& count) {
    return ceilings["by_threads"][count]["foreign_cores"].get<double>();
  };
  if (threads == "2" && foreign_load("1") < 0.02 && foreign_load("2") < 0.02) {
    const auto figure = [&](const std::string& count, const char* name) {
      return ceilings["by_threads"][count]["figures"][name]["value"].get<double>();
    };
    for (const char* name : {"read_gb_s", "f32_ymm", "int8_add_ymm"}) {
      if (!ceilings["by_threads"]["2"]["figures"].contains(name)) continue;
      EXPECT_GE(figure("2", name), 0.7 * figure("1", name)) << name;
    }
  }
  bool checked = false;
  for (const Json& check : report["checks"]) {
    if (check["name"] != "ceilings") continue;
    checked = true;
    EXPECT_EQ(check["status"] == "ok",
              ceilings["unsteady"].empty() && foreign_load(threads) <= 0.05)
        << check;
  }
  EXPECT_TRUE(checked);

  // From here on they are known.
  EXPECT_TRUE(std::filesystem::exists(file()));
  const Json shown = parsed(run({"doctor", "--threads", threads, "--json"}).out);
  EXPECT_EQ(shown["ceilings"], ceilings);
  const ProcessResult text = run({"doctor", "--threads", threads});
  EXPECT_NE(text.out.find("int8_gop_s"), std::string::npos) << text.out;
  if (ceilings["read_gb_s"][threads].is_number()) {
    const ProcessResult known = run(bench);
    EXPECT_EQ(known.err.find(advice), std::string::npos) << known.err;
    for (const Json& row : parsed(known.out)) {
      ASSERT_TRUE(row["share_of_ceiling"].is_number()) << row;
      EXPECT_GT(row["share_of_ceiling"].get<double>(), 0);
      EXPECT_GT(row["work_bytes"].get<double>(), 0);
      EXPECT_FALSE(row["work_operations"].empty());
      EXPECT_TRUE(row["ceiling"].is_string());
    }
  }
}

TEST_F(CeilingsCommand, ADamagedFileIsIgnoredWithAWarning) {
  std::filesystem::create_directories(file().parent_path());
  std::ofstream(file()) << "{\"schema\":1,\"machines\":";
  const ProcessResult result = run({"doctor", "--json"});
  EXPECT_EQ(result.status, 0) << result.err;
  EXPECT_NE(result.err.find("ceilings.json"), std::string::npos) << result.err;
  EXPECT_TRUE(parsed(result.out)["ceilings"].is_null());
}

TEST_F(CeilingsCommand, MoreThreadsThanCoresAreRefused) {
  const ProcessResult result = run({"doctor", "--ceilings", "--threads", "100000", "--json"});
  EXPECT_EQ(result.status, 2);
  EXPECT_EQ(parsed(result.out)["error"]["what"], "--threads") << result.out;
}

}  // namespace
}  // namespace quern
