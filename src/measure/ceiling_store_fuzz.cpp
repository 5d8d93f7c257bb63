#include <cstddef>
#include <cstdint>

#include "measure/ceiling_store.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  if (const auto ceilings = quern::parse_ceilings(text, "fuzz", "a machine")) {
    for (const auto& [threads, entry] : *ceilings) (void)quern::ceilings_json(entry);
  }
  return 0;
}
