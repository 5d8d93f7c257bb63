#include "base/ensure.h"
#include "checkpoint/container_listing.h"
#include "checkpoint/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto container = quern::parse_safetensors(std::as_bytes(std::span(data, size)), "fuzz");
  if (!container) return 0;
  uint64_t total = 0;
  for (const quern::TensorInfo& tensor : container->tensors) {
    ENSURE(tensor.bytes <= size && tensor.offset <= size - tensor.bytes);
    ENSURE(tensor.num_values() >= 0);
    total += tensor.bytes;
  }
  ENSURE(total <= size, "tensors overlap");
  return quern::dump_json(quern::container_json(*container)).empty();
}
