#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"
#include "program/steps/activate.h"

namespace quern {

class GgufEntries;
struct Architecture;

/// Which keys a layer looks at ("layer_types" of config.json).
enum class LayerType { kFullAttention, kSlidingAttention };

/// How positions turn queries and keys ("rope_parameters", or "rope_theta" and "rope_scaling").
struct RopeParameters {
  enum class Type { kDefault, kLinear, kLlama3 };

  Type rope_type = Type::kDefault;
  double rope_theta = 10000.0;
  double factor = 1.0;
  double low_freq_factor = 1.0;                  // llama3
  double high_freq_factor = 4.0;                 // llama3
  int64_t original_max_position_embeddings = 0;  // llama3
  /// One divisor per frequency, or none: GGUF's rope_freqs.weight, Llama 3's scaling worked out.
  std::vector<float> frequency_divisors = {};
};

/// The numbers of a model's config.json under their Hugging Face names, every one present and
/// within bounds that keep what plans compute from them inside 64 bits. GPT-2's own spellings
/// (n_embd, n_head ...) are read into the common ones.
struct ModelConfig {
  std::string architecture = {};  // "LlamaForCausalLM"

  int64_t vocab_size = 0;
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t num_hidden_layers = 0;
  int64_t num_attention_heads = 0;
  int64_t num_key_value_heads = 0;
  int64_t head_dim = 0;
  int64_t max_position_embeddings = 0;

  Activation hidden_act = Activation::kSilu;
  double rms_norm_eps = 1e-6;
  double layer_norm_epsilon = 1e-5;

  bool tie_word_embeddings = false;
  bool attention_bias = false;         // of the query, key and value products
  bool attention_output_bias = false;  // of the output product
  bool mlp_bias = false;

  RopeParameters rope = {};  // of full attention layers
  RopeParameters local_rope =
      {};  // of sliding attention layers where they have their own (Gemma 3)
  std::vector<LayerType> layer_types = {};  // one per layer
  int64_t sliding_window = 0;               // 0: none
  int64_t sliding_window_pattern = 0;       // every n-th layer is a full one; 0: layer_types says
  int64_t max_window_layers = 0;            // Qwen2: layers below it are full
  bool use_sliding_window = false;          // Qwen2

  double query_pre_attn_scalar = 0.0;    // 0: head_dim
  double final_logit_softcapping = 0.0;  // 0: none
  bool scale_attn_weights = true;        // GPT-2
  bool scale_attn_by_inverse_layer_idx = false;

  bool w8a8 = false;  // quantization_config: products may be stored as signed bytes with scales

  /// The end tokens that transformers assumes where no file names one.
  std::vector<int32_t> default_eos_token_ids = {};

  bool slides(int64_t layer) const {
    return layer_types[static_cast<size_t>(layer)] == LayerType::kSlidingAttention;
  }
  /// The window of a layer as Attend takes it: 0 is the whole context.
  int64_t window(int64_t layer) const { return slides(layer) ? sliding_window : 0; }
};

/// Reads a config.json of a supported architecture, in old or new spelling, missing keys by
/// transformers' defaults. kUnsupported names a field whose value would change the numbers in a way
/// that quern cannot follow; kBadFile one that is malformed. `what` leads every message.
Result<ModelConfig> read_config_json(const Json& config, std::string_view what);

/// The same from the metadata and the tensors of a GGUF file.
Result<ModelConfig> read_gguf_config(const Checkpoint& checkpoint, std::string_view what);

/// The metadata of such a file, without what its tensors say. Not every config can be said this
/// way: see gguf_export.h.
void write_gguf_config(const ModelConfig& config, const Architecture& architecture,
                       GgufEntries& entries);

/// Fills in what follows from other numbers (head_dim, layer_types ...) and checks that all of them
/// agree and are small enough to compute with.
Result<void> complete_config(ModelConfig& config, std::string_view what);

/// The config under Hugging Face names, for people and for `show`.
Json config_json(const ModelConfig& config);

}  // namespace quern
