#include "checkpoint/container.h"

#include <algorithm>

#include "base/cat.h"

namespace quern {

int64_t TensorInfo::num_values() const {
  int64_t product = 1;
  for (const int64_t size : shape) product *= size;
  return product;
}

std::string shown_name(std::string_view name) {
  constexpr size_t kMaxShown = 80;
  std::string shown(name.substr(0, kMaxShown));
  for (char& c : shown) {
    const unsigned char byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F) c = '?';
  }
  return name.size() > kMaxShown ? shown + "..." : shown;
}

Result<void> check_unique_names(const std::vector<TensorInfo>& tensors, std::string_view what) {
  std::vector<std::string_view> names;
  names.reserve(tensors.size());
  for (const TensorInfo& tensor : tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twin = std::adjacent_find(names.begin(), names.end());
  if (twin == names.end()) return {};
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": holds two tensors of the name \"", shown_name(*twin),
                              "\"; the file is damaged or was written wrongly"),
               .what = std::string(what),
               .found = "a name that stands twice",
               .wanted = "one tensor per name"};
}

}  // namespace quern
