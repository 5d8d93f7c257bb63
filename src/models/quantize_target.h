#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "models/quantize.h"

namespace quern {

// What files and folders as targets of quantize_model() have in common.

inline constexpr std::string_view kKeepFlag = "--keep";

/// kUsage about the target.
Error bad_target(const std::filesystem::path& out, std::string_view why, std::string_view try_next);

/// Refuses what must not be replaced: without `force` anything, with it the model itself, and a
/// folder by a file.
Result<void> check_file_target(const Checkpoint& checkpoint, const std::filesystem::path& out,
                               bool force);
/// With `force` also any folder but a model's: one with a config.json and without folders in it.
Result<void> check_folder_target(const Checkpoint& checkpoint, const std::filesystem::path& out,
                                 bool force);

/// The name of the type as quern has it, or the file's own in lower case.
std::string stored_type(const TensorInfo& tensor);

/// What a matrix of `cols` columns becomes; what does not fit is noted.
DType fitting_or_fallback(std::string_view name, DType asked, int64_t cols,
                          std::vector<Fallback>& fallbacks);

/// The folder as quantize_model() makes it.
Result<QuantizeReport> quantize_to_folder(ModelFiles files, const std::filesystem::path& target,
                                          const QuantizeOptions& options);

}  // namespace quern
