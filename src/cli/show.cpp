#include <cstdio>

#include "checkpoint/container_listing.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"

namespace quern {

namespace {

Json or_null(const std::optional<int32_t>& id) { return id ? Json(*id) : Json(); }

/// Bytes of the file's tensors by type, as stored.
Json dtypes_json(const Checkpoint& checkpoint) {
  std::map<std::string, uint64_t> bytes;
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    bytes[std::string(tensor.dtype ? tensor.dtype->name() : tensor.type_name)] += tensor.bytes;
  }
  Json out = Json::object();
  for (const auto& [name, count] : bytes) out[name] = count;
  return out;
}

Json tokenizer_json(const ModelFiles& files) {
  const Result<const Tokenizer*> tokenizer = files.tokenizer();
  if (!tokenizer) return nullptr;
  return {{"kind", (*tokenizer)->kind()},
          {"bos", or_null((*tokenizer)->bos())},
          {"eos", or_null((*tokenizer)->eos())}};
}

/// What the files say of any model: the keys of the contract, null where only running it would
/// tell.
Json files_json(const ModelFiles& files) {
  const Checkpoint& checkpoint = *files.checkpoint;
  int64_t parameters = 0;
  for (const TensorInfo& tensor : checkpoint.tensors()) parameters += tensor.num_values();
  Json paths = Json::array();
  for (const MappedFile& file : checkpoint.files()) paths.push_back(file.path().string());
  const Result<ChatTemplates> templates = files.chat_templates();
  return {{"format", checkpoint.format() == Checkpoint::Format::kGguf ? "gguf" : "safetensors"},
          {"architecture", files.architecture_name},
          {"supported", false},
          {"parameters", parameters},
          {"context_length", nullptr},
          {"vocab_size", nullptr},
          {"num_hidden_layers", nullptr},
          {"hidden_size", nullptr},
          {"num_attention_heads", nullptr},
          {"num_key_value_heads", nullptr},
          {"dtypes", dtypes_json(checkpoint)},
          {"num_tensors", checkpoint.tensors().size()},
          {"file_bytes", checkpoint.file_bytes()},
          {"files", std::move(paths)},
          {"tokenizer", tokenizer_json(files)},
          {"chat_template", templates && !templates->empty()},
          {"capabilities", Json::array()},
          {"fallbacks", Json::array()},
          {"config", files.config}};
}

/// The same of a model that can be run.
Json model_json(const Model& model, const RunPlan& plan) {
  const ModelConfig& config = model.config;
  Json object = files_json(model.files);
  object["architecture"] = config.architecture;
  object["supported"] = true;
  object["parameters"] = model.num_parameters();
  object["context_length"] = model.program.context_length;
  object["vocab_size"] = model.program.vocab_size;
  object["num_hidden_layers"] = config.num_hidden_layers;
  object["hidden_size"] = config.hidden_size;
  object["num_attention_heads"] = config.num_attention_heads;
  object["num_key_value_heads"] = config.num_key_value_heads;
  object["capabilities"].push_back("completion");
  if (object["chat_template"] == true) object["capabilities"].push_back("chat");
  for (const Fallback& fallback : plan.fallbacks) {
    object["fallbacks"].push_back({{"name", fallback.name},
                                   {"wanted", fallback.wanted.name()},
                                   {"used", fallback.used.name()}});
  }
  return object;
}

void print_object(const Json& object, const Arguments& arguments) {
  if (arguments.on("--json")) {
    print_json(object);
    return;
  }
  std::string text;
  for (const auto& [key, value] : object.items()) {
    if (key == "config") continue;
    text += cat(key, std::string(key.size() < 22 ? 22 - key.size() : 1, ' '),
                value.is_string() ? value.get<std::string>() : dump_json(value), "\n");
  }
  print_text(text);
}

Result<int> show_container(const Arguments& arguments) {
  const std::string name = model_name(arguments);
  std::filesystem::path path = name;
  std::error_code ignored;
  if (!std::filesystem::exists(path, ignored)) {
    ASSIGN_OR_RETURN(const ModelLocation location, resolve_model(name));
    path = location.weights;
  }
  ASSIGN_OR_RETURN(const Json listing, list_container(path));
  if (arguments.on("--json")) {
    print_json(listing);
    return 0;
  }
  std::string text = cat(listing["format"].get<std::string>(), ", ", listing["tensors"].size(),
                         " tensors, ", listing["metadata"].size(), " metadata entries\n");
  for (const Json& tensor : listing["tensors"]) {
    text += cat("  ", tensor["name"].get<std::string>(), "  ", tensor["dtype"].get<std::string>(),
                "  ", dump_json(tensor["shape"]), "\n");
  }
  print_text(text);
  return 0;
}

/// The program as the executor runs it, each step with its cost for a batch.
Result<int> show_program(const Arguments& arguments, const RunPlan& plan) {
  const Program& program = plan.program;
  if (!arguments.on("--json")) {
    for (const std::string_view name : {"--batch", "--context"}) {
      if (arguments.has(name)) return bad_value(name, *arguments.text(name), "--json beside it");
    }
    print_text(print_program(program));
    return 0;
  }
  ASSIGN_OR_RETURN(const auto batch, arguments.integer("--batch", 1, 1 << 16));
  ASSIGN_OR_RETURN(const auto context, arguments.integer("--context", 1, program.context_length));
  const CostContext at =
      cost_context(program, batch.value_or(1), 1,
                   context.value_or(std::min<int64_t>(128, program.context_length)),
                   plan.shape.kv_dtype, [&](WeightId id) {
                     const WeightDecl& weight = program.weight(id);
                     return weight.rows * plan.types[id].row_bytes(weight.cols);
                   });
  Json steps = Json::array();
  for (const Step& step : program.steps) {
    const Cost cost = step_cost(step, at);
    const std::vector<std::string> weights = weight_names(program, step);
    const std::vector<std::string> outputs = output_names(program, step);
    // A step is known by its first weight, else by what it writes.
    const std::string name = !weights.empty()   ? weights.front()
                             : !outputs.empty() ? outputs.front()
                                                : std::string(step_name(step));
    steps.push_back({{"kind", step_name(step)},
                     {"name", name},
                     {"inputs", input_names(program, step)},
                     {"outputs", outputs},
                     {"weights", weights},
                     {"flops", cost.flops},
                     {"bytes", cost.bytes()}});
  }
  Json slots = Json::array();
  for (const BufferDecl& buffer : program.buffers) {
    const bool tokens = buffer.rows == BufferDecl::Rows::kTokens;
    slots.push_back({{"name", buffer.name}, {"rows", tokens ? "T" : "R"}, {"width", buffer.width}});
  }
  print_json({{"steps", std::move(steps)}, {"slots", std::move(slots)}});
  return 0;
}

Result<int> run_show(const Arguments& arguments) {
  if (arguments.on("--container")) return show_container(arguments);
  ASSIGN_OR_RETURN(const RunOptions options, read_load_flags(arguments));
  Result<std::unique_ptr<Model>> model = open_model_argument(arguments);
  if (!model && model.error().code == ErrorCode::kUnsupported && !arguments.on("--program")) {
    // What quern cannot run it can still describe.
    ASSIGN_OR_RETURN(const ModelFiles files, open_model_files_argument(arguments));
    std::fprintf(stderr, "%s\n", model.error().message.c_str());
    print_object(files_json(files), arguments);
    return 0;
  }
  if (!model) return std::move(model).error();
  ASSIGN_OR_RETURN(const RunPlan plan, plan_run(**model, options));
  if (arguments.on("--program")) return show_program(arguments, plan);
  print_object(model_json(**model, plan), arguments);
  return 0;
}

constexpr std::string_view kFlags[] = {"--model", "--container", "--program", "--batch",
                                       "--context"};

}  // namespace

const Command kShowCommand = {{.name = "show",
                               .arguments = "MODEL|FILE",
                               .summary = "what a model is: numbers, types, files, steps",
                               .min_positional = 1,
                               .max_positional = 1,
                               .load_flags = true,
                               .flags = kFlags},
                              run_show};

}  // namespace quern
