#include "models/llama.h"

namespace quern {

namespace {

// Qwen2Config of transformers; the biases are not a field of it, the model always has them.
ModelConfig defaults() {
  return {.vocab_size = 151936,
          .hidden_size = 4096,
          .intermediate_size = 22016,
          .num_hidden_layers = 32,
          .num_attention_heads = 32,
          .num_key_value_heads = 32,
          .max_position_embeddings = 32768,
          .hidden_act = Activation::kSilu,
          .rms_norm_eps = 1e-6,
          .attention_bias = true,
          .sliding_window = 4096,
          .max_window_layers = 28};
}

constexpr std::string_view kOwnFields[] = {"num_key_value_heads", "head_dim", "sliding_window",
                                           "max_window_layers", "use_sliding_window"};
constexpr FieldRule kFieldRules[] = {
    {"attention_bias", "[null,true]"},
};

constexpr TensorRule kTensors[] = {
    {"model.embed_tokens.weight", "token_embd.weight"},
    {"model.layers.*.input_layernorm.weight", "blk.*.attn_norm.weight"},
    {"model.layers.*.self_attn.q_proj.weight", "blk.*.attn_q.weight"},
    {"model.layers.*.self_attn.q_proj.bias", "blk.*.attn_q.bias"},
    {"model.layers.*.self_attn.k_proj.weight", "blk.*.attn_k.weight"},
    {"model.layers.*.self_attn.k_proj.bias", "blk.*.attn_k.bias"},
    {"model.layers.*.self_attn.v_proj.weight", "blk.*.attn_v.weight"},
    {"model.layers.*.self_attn.v_proj.bias", "blk.*.attn_v.bias"},
    {"model.layers.*.self_attn.o_proj.weight", "blk.*.attn_output.weight"},
    {"model.layers.*.post_attention_layernorm.weight", "blk.*.ffn_norm.weight"},
    {"model.layers.*.mlp.gate_proj.weight", "blk.*.ffn_gate.weight"},
    {"model.layers.*.mlp.up_proj.weight", "blk.*.ffn_up.weight"},
    {"model.layers.*.mlp.down_proj.weight", "blk.*.ffn_down.weight"},
    {"model.norm.weight", "output_norm.weight"},
    {"lm_head.weight", "output.weight"},
};

constexpr std::string_view kSkipped[] = {"rotary_emb.inv_freq", "rope_freqs.weight"};

}  // namespace

/// Qwen2 and Qwen2.5: Llama's network with biases at queries, keys and values; windows, where they
/// are switched on, from layer max_window_layers on.
extern const Architecture kQwen2;
const Architecture kQwen2 = {.name = "Qwen2ForCausalLM",
                             .base_name = "Qwen2Model",
                             .model_type = "qwen2",
                             .gguf_name = "qwen2",
                             .prefix = "model.",
                             .embeddings = "model.embed_tokens.weight",
                             .head = "lm_head.weight",
                             .defaults = defaults,
                             .aliases = {},
                             .own_fields = kOwnFields,
                             .field_rules = kFieldRules,
                             .tensors = kTensors,
                             .skipped = kSkipped,
                             .build = build_llama};

}  // namespace quern
