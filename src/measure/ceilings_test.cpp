#include "measure/ceilings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "base/file.h"
#include "measure/ceiling_store.h"

namespace quern {
namespace {

Ceilings some_ceilings(int threads) {
  Ceilings ceilings{.threads = threads, .figures = {}, .measured_at = "2026-11-21T20:00:00Z"};
  ceilings.foreign_cores = 0.01;
  ceilings.figures["read_gb_s"] = {.value = 17.25 * threads, .spread = 0.02};
  ceilings.figures["f32_ymm"] = {.value = 90.0 * threads, .spread = 0.001};
  ceilings.figures["f32_zmm"] = {.value = 175.0 * threads, .spread = 0.04};
  ceilings.figures["int8_dot_zmm"] = {.value = 750.0 * threads, .spread = 0};
  ceilings.figures["int8_amx"] = {.value = 4000.0 * threads, .spread = 0};
  return ceilings;
}

std::optional<Measured> headline(const Ceilings& ceilings, std::string_view name) {
  for (const Headline& each : headlines()) {
    if (each.name == name) return each.of(ceilings);
  }
  ADD_FAILURE() << "no headline " << name;
  return std::nullopt;
}

/// A folder of its own, gone at the end.
class CeilingFile : public testing::Test {
 protected:
  CeilingFile()
      : folder_(std::filesystem::temp_directory_path() /
                cat("quern_ceilings_", ::getpid(), "_",
                    ::testing::UnitTest::GetInstance()->current_test_info()->name())) {
    std::filesystem::remove_all(folder_);
  }
  ~CeilingFile() override { std::filesystem::remove_all(folder_); }

  std::filesystem::path file() const { return ceiling_file(folder_ / "not" / "there"); }
  void write(const std::string& text) const {
    std::filesystem::create_directories(file().parent_path());
    ASSERT_TRUE(write_file_atomically(file(), text));
  }

 private:
  std::filesystem::path folder_;
};

TEST(Ceilings, AFigureIsTheMedianAndHowFarItsRunsLieApart) {
  const double runs[] = {10.0, 9.0, 10.5, 11.0, 10.0};
  EXPECT_DOUBLE_EQ(measured_of(runs).value, 10.0);
  EXPECT_DOUBLE_EQ(measured_of(runs).spread, 0.2);
  EXPECT_EQ(measured_of({}).value, 0);
}

TEST(Ceilings, RunsMoreThanThreePercentApartAreNamed) {
  EXPECT_EQ(some_ceilings(1).unsteady(), std::vector<std::string>{"f32_zmm"});
}

TEST(Ceilings, HeadlinesAreTheBestVectorUnitAndTilesByThemselves) {
  const Ceilings ceilings = some_ceilings(1);
  EXPECT_EQ(headline(ceilings, "f32_gflop_s")->value, 175);
  EXPECT_EQ(headline(ceilings, "int8_gop_s")->value, 750);
  EXPECT_EQ(headline(ceilings, "amx_int8_gop_s")->value, 4000);
  EXPECT_EQ(headline(ceilings, "read_gb_s")->value, 17.25);
  EXPECT_FALSE(headline(ceilings, "fp16_gflop_s"));
  EXPECT_FALSE(headline(ceilings, "wake_us"));
}

TEST_F(CeilingFile, WhatIsStoredIsReadBackAndOtherMachinesAndThreadsStay) {
  EXPECT_TRUE(read_ceilings(file(), "here")->empty());
  ASSERT_TRUE(store_ceilings(file(), "there", {{4, some_ceilings(4)}}));
  ASSERT_TRUE(store_ceilings(file(), "here", {{1, some_ceilings(1)}}));
  ASSERT_TRUE(store_ceilings(file(), "here", {{2, some_ceilings(2)}}));

  const auto here = read_ceilings(file(), "here");
  ASSERT_TRUE(here);
  ASSERT_EQ(here->size(), 2u);
  const Ceilings& two = here->at(2);
  EXPECT_EQ(two.threads, 2);
  EXPECT_EQ(two.measured_at, "2026-11-21T20:00:00Z");
  EXPECT_EQ(two.foreign_cores, 0.01);
  EXPECT_EQ(two.figures.size(), some_ceilings(2).figures.size());
  EXPECT_EQ(two.value("read_gb_s"), 34.5);
  EXPECT_EQ(two.figures.at("f32_zmm").spread, 0.04);
  EXPECT_EQ(here->at(1).value(cpu::Unit::kInt8Amx), 4000);
  EXPECT_EQ(read_ceilings(file(), "there")->size(), 1u);
  EXPECT_TRUE(read_ceilings(file(), "elsewhere")->empty());

  auto changed = some_ceilings(2);
  changed.figures["read_gb_s"].value = 30;
  ASSERT_TRUE(store_ceilings(file(), "here", {{2, changed}}));
  EXPECT_EQ(read_ceilings(file(), "here")->at(2).value("read_gb_s"), 30);
}

TEST_F(CeilingFile, ADamagedFileIsToldAndReplaced) {
  const auto entry = [](const std::string& figures) {
    return cat(R"({"schema":1,"machines":{"here":{"2":{"measured_at":"x","figures":)", figures,
               "}}}}");
  };
  const std::string damages[] = {
      "",
      "{",
      "[]",
      "null",
      R"({"schema":2,"machines":{}})",
      R"({"schema":1})",
      R"({"schema":1,"machines":[]})",
      R"({"schema":1,"machines":{"here":7}})",
      R"({"schema":1,"machines":{"here":{"two":{}}}})",
      R"({"schema":1,"machines":{"here":{"0":{"figures":{}}}}})",
      R"({"schema":1,"machines":{"here":{"2":[]}}})",
      R"({"schema":1,"machines":{"here":{"2":{}}}})",
      entry("[]"),
      entry(R"({"read_gb_s":17})"),
      entry(R"({"read_gb_s":{"value":17}})"),
      entry(R"({"read_gb_s":{"value":"17","spread":0}})"),
      entry(R"({"read_gb_s":{"value":0,"spread":0}})"),
      entry(R"({"read_gb_s":{"value":-3,"spread":0}})"),
      entry(R"({"read_gb_s":{"value":1e300,"spread":0}})"),
      entry(R"({"read_gb_s":{"value":17,"spread":-1}})"),
  };
  for (const std::string& damage : damages) {
    write(damage);
    const auto read = read_ceilings(file(), "here");
    ASSERT_FALSE(read) << damage;
    EXPECT_EQ(read.error().code, ErrorCode::kBadFile) << damage;
    EXPECT_NE(read.error().message.find("ceilings.json"), std::string::npos) << damage;
    ASSERT_TRUE(store_ceilings(file(), "here", {{1, some_ceilings(1)}})) << damage;
    const auto anew = read_ceilings(file(), "here");
    ASSERT_TRUE(anew) << damage;
    EXPECT_EQ(anew->size(), 1u) << damage;
  }
}

TEST_F(CeilingFile, FiguresOfAnotherVersionAreLeftAlone) {
  write(R"({"schema":1,"machines":{"here":{"2":{"figures":{"fp4_amx":{"value":1,"spread":0}}}}}})");
  EXPECT_TRUE(read_ceilings(file(), "here")->at(2).figures.empty());
}

TEST_F(CeilingFile, AFileWithoutEndIsDamage) {
  write(std::string((1 << 20) + 1, ' '));
  EXPECT_EQ(read_ceilings(file(), "here").error().code, ErrorCode::kBadFile);
}

TEST(Ceilings, EachUnitOfThisCpuCountsItsRounds) {
  // A hundred rounds of each; that they return is all that can be said without timing.
  for (const cpu::RateLoop& loop : cpu::rate_loops()) {
    EXPECT_GT(loop.operations, 0) << cpu::unit_name(loop.unit);
    loop.run(100);
  }
  alignas(64) static constexpr std::byte kMemory[2 * cpu::kReadGrain] = {};
  for (const cpu::ReadLoop& loop : cpu::read_loops()) loop.run(kMemory, sizeof(kMemory));
}

}  // namespace
}  // namespace quern
