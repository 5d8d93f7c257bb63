#include <cstddef>
#include <cstdint>

#include "base/ensure.h"
#include "measure/load/openai_answer.h"

/// The first byte says where the answer is cut in two.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view answer(reinterpret_cast<const char*>(data + 1), size - 1);
  const size_t cut = answer.size() * data[0] / 255;
  quern::TimedBody whole, halves;
  whole.add(answer, 1);
  halves.add(answer.substr(0, cut), 1);
  halves.add(answer.substr(cut), 2);

  quern::LoadRecord of_whole, of_halves;
  const bool read = quern::read_openai_stream(whole, of_whole).has_value();
  ENSURE(read == quern::read_openai_stream(halves, of_halves).has_value());
  ENSURE(of_whole.text == of_halves.text && of_whole.event_ns.size() == of_halves.event_ns.size());
  quern::LoadRecord of_body;
  (void)quern::read_openai_answer(whole, of_body);
  (void)quern::error_of_body(answer);
  return 0;
}
