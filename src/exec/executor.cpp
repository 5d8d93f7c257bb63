#include "exec/executor.h"

#include <limits>

#include "base/cat.h"

namespace quern {

int64_t kv_bytes_per_token(const Program& program, int32_t group, DType kv_dtype) {
  int64_t bytes = 0;
  for (const KvLayer& layer : program.kv_layers) {
    if (layer.group == group) bytes += kv_dtype.row_bytes(layer.values_per_token());
  }
  return bytes;
}

Result<void> check_kv_heads(const Program& program, DType kv_dtype) {
  if (kv_dtype.scales_rows() && !program.kv_layers.empty()) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat("--kv-cache-dtype ", kv_dtype.name(),
                                ": is a type of weights alone; choose f16, bf16, f32 or fp8_e4m3"),
                 .what = "--kv-cache-dtype",
                 .found = std::string(kv_dtype.name()),
                 .wanted = "a type of keys and values",
                 .try_next = "--kv-cache-dtype f16"};
  }
  for (const KvLayer& layer : program.kv_layers) {
    if (kv_dtype.fits_row(layer.head_dim)) continue;
    const std::string wanted = cat("a multiple of ", kv_dtype.block_values());
    return Error{
        .code = ErrorCode::kUnsupported,
        .message = cat("--kv-cache-dtype ", kv_dtype.name(), ": head_dim is ", layer.head_dim,
                       ", that type needs ", wanted, "; choose f16, bf16, f32 or fp8_e4m3"),
        .what = "--kv-cache-dtype",
        .found = cat("head_dim ", layer.head_dim),
        .wanted = wanted,
        .try_next = "--kv-cache-dtype f16"};
  }
  return {};
}

float kv_bound(DType kv_dtype) {
  constexpr float kLargestHalf = 65504.0f;
  if (kv_dtype == DType::of<F16>()) return kLargestHalf;
  if (kv_dtype == DType::of<Q8_0>()) return 127 * kLargestHalf;
  if (kv_dtype == DType::of<Q4_0>()) return 8 * kLargestHalf;
  return std::numeric_limits<float>::infinity();
}

}  // namespace quern
