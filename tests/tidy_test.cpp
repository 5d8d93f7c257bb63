// Keeps the shape of the repository: floors, one includer per library, lists that name their
// members, ASCII sources. Prints sizes, which are a habit and fail nothing.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>
#include <sstream>
#include <string>
#include <vector>

namespace quern {
namespace {

namespace fs = std::filesystem;

const fs::path kSource = fs::path(QUERN_SOURCE_DIR) / "src";

/// A folder may include only folders of lower floors, and itself. Executors are siblings: none
/// includes another.
const std::map<std::string, int> kFloors = {
    {"base", 0},           {"tensor", 1},     {"text", 1},   {"net", 1},
    {"program", 2},        {"checkpoint", 2}, {"models", 3}, {"exec", 3},
    {"exec/reference", 4}, {"exec/cpu", 4},   {"engine", 5}, {"llm", 6},
    {"measure", 7},        {"server", 8},     {"cli", 9},
};

/// Third-party headers and the one file that wraps each.
const std::map<std::string, std::set<std::string>> kWrappers = {
    {"nlohmann/", {"base/json.h"}},
    {"spdlog/", {"base/log.cpp"}},
    {"xxhash.h", {"base/hash.cpp"}},
    {"simdjson.h", {"text/json_document.h"}},
    {"pcre2.h", {"text/pattern.cpp"}},
    {"utf8proc.h", {"text/template/code_points.cpp", "text/unicode_normalization.cpp"}},
    {"CLI/", {"cli/arguments.cpp"}},
    {"benchmark/", {"exec/cpu/kernels_bench.cpp", "exec/cpu/peers_bench.h"}},
    {"boost/", {"net/beast.h"}},
    {"prometheus/", {"server/metrics.cpp"}},
    {"openssl/", {"net/test_certificate.h"}},
    {"cblas.h", {"exec/cpu/peers_bench.cpp"}},
    {"dnnl.hpp", {"exec/cpu/peers_bench.cpp"}},
};

struct SourceFile {
  std::string name;  // below src
  std::vector<std::string> lines;
};

std::vector<SourceFile> sources() {
  std::vector<SourceFile> files;
  for (const auto& entry : fs::recursive_directory_iterator(kSource)) {
    const std::string extension = entry.path().extension();
    if (extension != ".h" && extension != ".cpp") continue;
    SourceFile file{.name = fs::relative(entry.path(), kSource).string(), .lines = {}};
    std::ifstream stream(entry.path());
    for (std::string line; std::getline(stream, line);) file.lines.push_back(line);
    files.push_back(std::move(file));
  }
  std::ranges::sort(files, {}, &SourceFile::name);
  return files;
}

/// The folder of the table that holds a file: the longest that is its prefix.
std::string folder_of(const std::string& file) {
  std::string best;
  for (const auto& [folder, floor] : kFloors) {
    if (file.starts_with(folder + "/") && folder.size() > best.size()) best = folder;
  }
  return best;
}

/// The text between quotes or angle brackets of an #include line; empty for other lines.
std::string included(const std::string& line, char open, char close) {
  if (!line.starts_with("#include ")) return {};
  const size_t begin = line.find(open);
  const size_t end = begin == std::string::npos ? begin : line.find(close, begin + 1);
  return end == std::string::npos ? std::string() : line.substr(begin + 1, end - begin - 1);
}

TEST(Tidy, AFolderIncludesOnlyLowerFloors) {
  for (const SourceFile& file : sources()) {
    const std::string folder = folder_of(file.name);
    ASSERT_FALSE(folder.empty()) << file.name << " is in a folder that has no floor";
    for (const std::string& line : file.lines) {
      const std::string header = included(line, '"', '"');
      if (header.empty()) continue;
      const std::string other = folder_of(header);
      ASSERT_FALSE(other.empty()) << file.name << ": " << line << ": not a path below src";
      EXPECT_TRUE(other == folder || kFloors.at(other) < kFloors.at(folder))
          << file.name << " (floor " << kFloors.at(folder) << ") includes " << header << " (floor "
          << kFloors.at(other) << ")";
    }
  }
}

TEST(Tidy, AThirdPartyHeaderIsIncludedByItsWrapperOnly) {
  for (const SourceFile& file : sources()) {
    for (const std::string& line : file.lines) {
      const std::string header = included(line, '<', '>');
      for (const auto& [library, wrappers] : kWrappers) {
        if (!header.starts_with(library)) continue;
        EXPECT_TRUE(wrappers.contains(file.name)) << file.name << ": " << line;
      }
    }
  }
}

TEST(Tidy, EveryMemberOfAListIsNamedInIt) {
  const auto text_of = [](const std::string& name) {
    std::ifstream stream(kSource / name);
    std::stringstream text;
    text << stream.rdbuf();
    return text.str();
  };
  const struct {
    std::string folder, list;
  } lists[] = {{"tensor/formats", "tensor/formats.h"}, {"program/steps", "program/steps.h"}};
  for (const auto& [folder, list] : lists) {
    const std::string text = text_of(list);
    for (const auto& entry : fs::directory_iterator(kSource / folder)) {
      if (entry.path().extension() != ".h") continue;
      const std::string include = folder + "/" + entry.path().filename().string();
      EXPECT_NE(text.find("\"" + include + "\""), std::string::npos)
          << list << " does not name " << include;
    }
  }
}

TEST(Tidy, SourcesAreAsciiWithoutTabsWithinAHundredColumns) {
  for (const SourceFile& file : sources()) {
    for (size_t i = 0; i < file.lines.size(); ++i) {
      const std::string& line = file.lines[i];
      const bool ascii = std::ranges::all_of(line, [](char c) { return c >= ' ' && c <= '~'; });
      EXPECT_TRUE(ascii) << file.name << ":" << i + 1 << ": not plain ASCII";
      EXPECT_LE(line.size(), 100u) << file.name << ":" << i + 1;
    }
  }
}

TEST(Tidy, EnvironmentIsReadByTheCommandLineOnly) {
  for (const SourceFile& file : sources()) {
    if (file.name.starts_with("cli/") || file.name.ends_with("_test.cpp") ||
        file.name.ends_with("_test.h") || file.name.ends_with("_bench.cpp")) {
      continue;
    }
    for (const std::string& line : file.lines) {
      EXPECT_EQ(line.find("getenv("), std::string::npos) << file.name << ": " << line;
    }
  }
}

TEST(Tidy, PrintsTheTenLongestFilesAndLinesPerFolder) {
  std::map<std::string, size_t> folders;
  std::vector<std::pair<size_t, std::string>> longest;
  for (const SourceFile& file : sources()) {
    folders[folder_of(file.name)] += file.lines.size();
    longest.emplace_back(file.lines.size(), file.name);
  }
  std::ranges::sort(longest, std::greater<>());
  for (const auto& [folder, lines] : folders) std::printf("%6zu  %s\n", lines, folder.c_str());
  for (size_t i = 0; i < std::min<size_t>(10, longest.size()); ++i) {
    std::printf("%6zu  %s\n", longest[i].first, longest[i].second.c_str());
  }
}

}  // namespace
}  // namespace quern
