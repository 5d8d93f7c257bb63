#include "checkpoint/container_listing.h"

#include <type_traits>
#include <utility>
#include <variant>

#include "base/file.h"
#include "checkpoint/weight_file.h"

namespace quern {

namespace {

/// Recurses into arrays of arrays, which the reader of the file has limited in depth.
Json value_json(const MetadataValue& value) {
  return std::visit(
      [](const auto& held) {
        if constexpr (std::is_same_v<std::decay_t<decltype(held)>, MetadataArrays>) {
          Json array = Json::array();
          for (const MetadataValue& member : held) array.push_back(value_json(member));
          return array;
        } else {
          return Json(held);
        }
      },
      value.value);
}

Json metadata_json(const Metadata& metadata) {
  Json object = Json::object();
  // Keys are unique already; inserting by key would search all the earlier ones each time.
  auto& members = static_cast<Json::object_t::Container&>(object.get_ref<Json::object_t&>());
  members.reserve(metadata.size());
  for (const auto& [key, value] : metadata) members.emplace_back(key, value_json(value));
  return object;
}

}  // namespace

Json container_json(const Container& container) {
  Json tensors = Json::array();
  for (const TensorInfo& tensor : container.tensors) {
    tensors.push_back({{"name", tensor.name},
                       {"dtype", tensor.type_name},
                       {"shape", tensor.shape},
                       {"offset", tensor.offset},
                       {"bytes", tensor.bytes}});
  }
  return {{"schema", 1},
          {"format", container.format == ContainerFormat::kGguf ? "gguf" : "safetensors"},
          {"metadata", metadata_json(container.metadata)},
          {"tensors", std::move(tensors)}};
}

Result<Json> list_container(const std::filesystem::path& path) {
  ASSIGN_OR_RETURN(const MappedFile file, MappedFile::open(path));
  ASSIGN_OR_RETURN(const Container container, parse_weight_file(file.bytes(), path));
  return container_json(container);
}

}  // namespace quern
