#pragma once

#include "models/architecture.h"

namespace quern {

/// The network of Llama, which Qwen2 shares: biases, windows and tying as the config says.
Result<Program> build_llama(const ModelConfig& config);

}  // namespace quern
