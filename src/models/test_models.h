#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "models/model.h"

namespace quern {

/// A golden model of the repository.
inline std::filesystem::path golden(std::string_view name) {
  return std::filesystem::path(QUERN_SOURCE_DIR) / "models" / "golden" / name;
}

/// A folder that is gone when the test is over.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string pattern = (std::filesystem::temp_directory_path() / "quern-models-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path write(std::string_view name, std::string_view content) const {
    const std::filesystem::path file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }
  void copy(const std::filesystem::path& file) const {
    std::filesystem::copy(file, path_ / file.filename());
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_text(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

/// The whole of a weight as fp32.
inline std::vector<float> decode_all(const CheckpointWeights& weights, const Program& program,
                                     WeightId id) {
  const WeightDecl& weight = program.weight(id);
  std::vector<float> out(static_cast<size_t>(weight.num_values()));
  weights.decode_rows(id, 0, {out.data(), weight.rows, weight.cols, weight.cols});
  return out;
}

}  // namespace quern
