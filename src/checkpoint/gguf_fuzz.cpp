#include "base/ensure.h"
#include "checkpoint/container_listing.h"
#include "checkpoint/gguf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto container = quern::parse_gguf(std::as_bytes(std::span(data, size)), "fuzz");
  if (!container) return 0;
  for (const quern::TensorInfo& tensor : container->tensors) {
    ENSURE(tensor.bytes <= size && tensor.offset <= size - tensor.bytes);
    ENSURE(tensor.num_values() > 0);
  }
  return quern::dump_json(quern::container_json(*container)).empty();
}
