#include "exec/executor.h"

namespace quern {

int64_t kv_bytes_per_token(const Program& program, int32_t group, DType kv_dtype) {
  int64_t bytes = 0;
  for (const KvLayer& layer : program.kv_layers) {
    if (layer.group == group) bytes += kv_dtype.row_bytes(layer.values_per_token());
  }
  return bytes;
}

}  // namespace quern
