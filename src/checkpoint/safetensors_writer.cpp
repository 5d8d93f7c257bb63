#include "checkpoint/safetensors_writer.h"

#include <cstring>

#include "base/json.h"

namespace quern {

std::string safetensors_head(std::span<const SafetensorsTensor> tensors) {
  Json header = Json::object();
  // Inserting by key would search all the earlier ones each time; names are unique already.
  auto& members = header.get_ref<Json::object_t&>();
  auto& list = static_cast<Json::object_t::Container&>(members);
  list.emplace_back("__metadata__", Json{{"format", "pt"}});
  uint64_t begin = 0;
  for (const SafetensorsTensor& tensor : tensors) {
    list.emplace_back(tensor.name, Json{{"dtype", tensor.type},
                                        {"shape", tensor.shape},
                                        {"data_offsets", {begin, begin + tensor.bytes}}});
    begin += tensor.bytes;
  }
  std::string text = dump_json(header);
  // Spaces may follow the JSON: with them the data is aligned.
  text.resize((text.size() + 7) / 8 * 8, ' ');
  const uint64_t size = text.size();
  std::string head(sizeof(size), '\0');
  std::memcpy(head.data(), &size, sizeof(size));
  return head + text;
}

}  // namespace quern
