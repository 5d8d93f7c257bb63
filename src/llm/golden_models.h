#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "llm/llm.h"
#include "models/model.h"
#include "models/reference_logits.h"

namespace quern {

/// A golden model of the repository: "llama", or "llama/model-f32.gguf".
inline Model golden_model(const std::string& name) {
  Result<Model> model = open_model(std::string(QUERN_SOURCE_DIR) + "/models/golden/" + name, {});
  EXPECT_TRUE(model) << (model ? "" : model.error().message);
  return *std::move(model);
}

/// Options for a tiny model: a short context and few sequences.
inline RunOptions small_run(std::optional<DType> dtype) {
  RunOptions options;
  options.dtype = dtype;
  options.max_model_len = 192;
  options.max_num_seqs = 4;
  options.exec.threads = 2;
  return options;
}

inline Request greedy_request(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

}  // namespace quern
