#include "engine/request.h"

namespace quern {

std::string_view finish_reason_name(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
  }
  return "unknown";
}

std::optional<double> RequestTiming::ms(int64_t from_ns, int64_t to_ns) {
  if (from_ns < 0 || to_ns < 0) return std::nullopt;
  return static_cast<double>(to_ns - from_ns) * 1e-6;
}

std::optional<double> RequestTiming::tpot_ms(int64_t num_generated) const {
  const std::optional<double> decode = decode_ms();
  if (!decode || num_generated < 2) return std::nullopt;
  return *decode / static_cast<double>(num_generated - 1);
}

std::optional<double> RequestTiming::prompt_per_second(int64_t prompt_tokens,
                                                       int64_t cached_tokens) const {
  const std::optional<double> prompt = prompt_ms();
  if (!prompt || *prompt <= 0) return std::nullopt;
  return 1e3 * static_cast<double>(prompt_tokens - cached_tokens) / *prompt;
}

std::optional<double> RequestTiming::predicted_per_second(int64_t num_generated) const {
  const std::optional<double> each = tpot_ms(num_generated);
  if (!each || *each <= 0) return std::nullopt;
  return 1e3 / *each;
}

}  // namespace quern
