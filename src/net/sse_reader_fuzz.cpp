#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/ensure.h"
#include "net/sse_reader.h"

namespace {

struct Reading {
  std::vector<std::string> events;
  bool failed = false;
  bool operator==(const Reading&) const = default;
};

/// Reads the text in pieces of these sizes, in turns.
Reading read(std::string_view text, std::string_view sizes) {
  quern::SseReader reader(64);
  Reading reading;
  for (size_t i = 0; !text.empty() && !reading.failed; ++i) {
    const size_t size = sizes.empty() ? text.size() : static_cast<uint8_t>(sizes[i % sizes.size()]);
    const auto fed = reader.feed(text.substr(0, size),
                                 [&](std::string_view data) { reading.events.emplace_back(data); });
    reading.failed = !fed;
    text.remove_prefix(std::min(size, text.size()));
  }
  return reading;
}

}  // namespace

/// The first four bytes say how the rest is cut.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = input.substr(0, 4);
  if (sizes.find_first_not_of('\0') == std::string_view::npos) return 0;
  const std::string_view text = input.substr(sizes.size());
  const Reading whole = read(text, {});
  ENSURE(read(text, sizes) == whole, "the events depend on how the bytes were cut");
  ENSURE(read(text, "\x01") == whole, "the events depend on how the bytes were cut");
  return 0;
}
