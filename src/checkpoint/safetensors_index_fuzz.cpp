#include "base/ensure.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto shards = quern::parse_safetensors_index(text, "fuzz");
  if (!shards) return 0;
  for (const auto& [tensor, shard] : *shards) {
    ENSURE(!shard.empty() && shard != ".." && shard.find('/') == std::string::npos);
  }
  return 0;
}
