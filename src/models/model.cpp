#include "models/model.h"

#include <cstring>

#include "base/cat.h"
#include "base/file.h"
#include "base/log.h"
#include "models/config_fields.h"
#include "models/gguf_metadata.h"
#include "models/gguf_tokenizer.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kMaxConfigBytes = 16 << 20;

bool is_gguf(const ModelFiles& files) {
  return files.checkpoint->format() == Checkpoint::Format::kGguf;
}

/// How messages name what the numbers of the model were read from.
std::string config_name(const ModelFiles& files) {
  if (is_gguf(files)) return files.location.weights.string();
  return (files.location.folder / "config.json").string();
}

Result<Json> read_config(const fs::path& folder) {
  const fs::path path = folder / "config.json";
  Result<std::string> text = read_file(path, kMaxConfigBytes);
  if (!text && text.error().code == ErrorCode::kNotFound) {
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat(path.string(),
                                ": is missing; the weights alone do not say what the model "
                                "computes, put its config.json beside them"),
                 .what = path.string(),
                 .wanted = "config.json"};
  }
  if (!text) return std::move(text).error();
  return parse_json(*text, path.string());
}

std::string architecture_name(const Json& config) {
  if (!config.is_object()) return {};
  const auto names = config.find("architectures");
  if (names != config.end() && names->is_array() && !names->empty() && names->front().is_string()) {
    return names->front().get<std::string>();
  }
  const auto type = config.find("model_type");
  return type != config.end() && type->is_string() ? type->get<std::string>() : std::string();
}

/// Where the config ties the head to the embeddings and the file holds a head of other numbers, the
/// file is right: that is what transformers runs.
void settle_tying(const Checkpoint& checkpoint, const Architecture& architecture,
                  std::string_view what, ModelConfig& config) {
  if (checkpoint.format() == Checkpoint::Format::kGguf || !config.tie_word_embeddings) return;
  const TensorInfo* head = checkpoint.find(architecture.head);
  const TensorInfo* table = checkpoint.find(architecture.embeddings);
  if (table == nullptr) {
    table = checkpoint.find(architecture.embeddings.substr(architecture.prefix.size()));
  }
  if (head == nullptr || table == nullptr) return;
  const auto one = checkpoint.bytes(*head);
  const auto other = checkpoint.bytes(*table);
  const bool same = head->type_name == table->type_name && head->shape == table->shape &&
                    one.size() == other.size() &&
                    std::memcmp(one.data(), other.data(), one.size()) == 0;
  checkpoint.release(*head);
  checkpoint.release(*table);
  if (same) return;
  config.tie_word_embeddings = false;
  log_warning(cat(what, ": ties the head to the embeddings, but ", architecture.head,
                  " holds other numbers; it is used as it is"));
}

Result<GenerationConfig> read_generation(const ModelFiles& files, const ModelConfig& config) {
  if (is_gguf(files)) return read_gguf_generation_config(*files.checkpoint);
  GenerationConfig generation;
  const fs::path path = files.location.folder / "generation_config.json";
  Result<std::string> text = read_file(path, kMaxConfigBytes);
  if (text) {
    ASSIGN_OR_RETURN(const Json json, parse_json(*text, path.string()));
    ASSIGN_OR_RETURN(generation, read_generation_config(json, path.string()));
    ASSIGN_OR_RETURN(const auto ends, read_eos_token_ids(json, path.string()));
    if (ends) return generation;
  } else if (text.error().code != ErrorCode::kNotFound) {
    return std::move(text).error();
  }
  ASSIGN_OR_RETURN(auto ends, read_eos_token_ids(files.config, config_name(files)));
  if (ends) {
    generation.eos_token_ids = *std::move(ends);
  } else if (!files.config.contains("eos_token_id")) {
    generation.eos_token_ids = config.default_eos_token_ids;
  }
  return generation;
}

}  // namespace

Result<ChatTemplates> ModelFiles::chat_templates() const {
  if (given_chat_template) return ChatTemplates{{{"default", *given_chat_template}}};
  if (is_gguf(*this)) return gguf_chat_templates(*checkpoint);
  return read_folder_chat_templates(location.folder);
}

Result<SpecialTokens> ModelFiles::special_tokens() const {
  if (is_gguf(*this)) return gguf_special_tokens(*checkpoint);
  return read_folder_special_tokens(location.folder);
}

Result<const Tokenizer*> ModelFiles::tokenizer() const {
  std::call_once(lazy_tokenizer->once, [&] {
    lazy_tokenizer->tokenizer = is_gguf(*this)
                                    ? open_gguf_tokenizer(*checkpoint, location.weights.string())
                                    : Tokenizer::open(location.folder);
  });
  const Result<Tokenizer>& opened = *lazy_tokenizer->tokenizer;
  if (!opened) return opened.error();
  return &*opened;
}

Result<ModelFiles> open_model_files(std::string_view model, const ModelPlaces& places) {
  ModelFiles files;
  ASSIGN_OR_RETURN(files.location, locate_model(model, places));
  ASSIGN_OR_RETURN(Checkpoint checkpoint, Checkpoint::open(files.location.weights));
  files.checkpoint = std::make_unique<const Checkpoint>(std::move(checkpoint));
  if (is_gguf(files)) {
    files.config = scalar_metadata_json(*files.checkpoint);
    if (const std::string* name = files.checkpoint->text("general.architecture")) {
      files.architecture_name = *name;
    }
    return files;
  }
  ASSIGN_OR_RETURN(files.config, read_config(files.location.folder));
  files.architecture_name = architecture_name(files.config);
  return files;
}

Result<Model> make_model(ModelFiles files) {
  Model model;
  const std::string name = config_name(files);
  const Checkpoint& checkpoint = *files.checkpoint;
  ASSIGN_OR_RETURN(model.config, is_gguf(files) ? read_gguf_config(checkpoint, name)
                                                : read_config_json(files.config, name));
  model.architecture = find_architecture(model.config.architecture);
  ENSURE(model.architecture != nullptr, model.config.architecture);

  // Every layer has tensors: a number of layers that the files cannot hold is refused before
  // anything is built from it.
  const auto num_tensors = static_cast<int64_t>(checkpoint.tensors().size());
  if (model.config.num_hidden_layers > num_tensors) {
    return bad_field(name, "num_hidden_layers", cat(model.config.num_hidden_layers),
                     cat("at most as many as there are tensors, ", num_tensors));
  }
  settle_tying(checkpoint, *model.architecture, name, model.config);
  Result<Program> program = model.architecture->build(model.config);
  if (!program) return with_context(std::move(program).error(), name);
  model.program = *std::move(program);

  ASSIGN_OR_RETURN(CheckpointWeights weights,
                   CheckpointWeights::bind(model.program, checkpoint, *model.architecture,
                                           model.config, files.location.weights.string()));
  model.weights = std::make_unique<const CheckpointWeights>(std::move(weights));
  ASSIGN_OR_RETURN(model.generation, read_generation(files, model.config));
  // No logit is an id's beyond the vocabulary; samplers index by these.
  std::erase_if(model.generation.eos_token_ids,
                [&](int32_t id) { return id >= model.config.vocab_size; });
  model.files = std::move(files);
  return model;
}

Result<Model> open_model(std::string_view model, const ModelPlaces& places) {
  ASSIGN_OR_RETURN(ModelFiles files, open_model_files(model, places));
  return make_model(std::move(files));
}

int64_t Model::num_parameters() const {
  int64_t sum = 0;
  for (const WeightDecl& weight : program.weights) sum += weight.num_values();
  return sum;
}

}  // namespace quern
