// A Hugging Face folder as the target: the same tensors under the same names, in other types.

#include <algorithm>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "base/cat.h"
#include "base/thread_pool.h"
#include "checkpoint/safetensors_writer.h"
#include "models/quantize_target.h"
#include "models/tensor_stream.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

/// What belongs to a model beside its weights and its config.
constexpr std::string_view kCopiedFiles[] = {
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
    "merges.txt",
    "preprocessor_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.bpe",
    "vocab.json",
    "LICENSE",
    "LICENSE.txt",
    "NOTICE",
};

/// What the name of a tensor of scales adds to that of its tensor.
constexpr std::string_view kScaleEnding = "_scale";

/// Everything a new folder is made of.
struct NewModel {
  std::vector<TensorStream> tensors;
  std::vector<std::string_view> types;  // as safetensors spells them, one per tensor
  std::vector<Fallback> fallbacks;
  std::unique_ptr<const Model> model;  // w8a8: tells the products from other matrices
  Json config;
};

Error unsupported(std::string_view what, std::string_view why) {
  return Error{
      .code = ErrorCode::kUnsupported, .message = cat(what, ": ", why), .what = std::string(what)};
}

std::string_view safetensors_type(DType dtype) {
  if (dtype == DType::of<F16>()) return F16::kSafetensorsName;
  if (dtype == DType::of<BF16>()) return BF16::kSafetensorsName;
  return F32::kSafetensorsName;
}

/// How config.json names a float type.
std::string_view config_type(DType dtype) {
  if (dtype == DType::of<F16>()) return F16::kAlias;
  if (dtype == DType::of<BF16>()) return BF16::kAlias;
  return F32::kAlias;
}

TensorStream stream_of(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  TensorStream stream{.name = tensor.name,
                      .from = stored_type(tensor),
                      .shape = tensor.shape,
                      .to = std::nullopt,
                      .stored = checkpoint.bytes(tensor),
                      .rows = {},
                      .release = [&checkpoint, &tensor] { checkpoint.release(tensor); }};
  if (!tensor.dtype) return stream;
  stream.rows = [from = *tensor.dtype, data = stream.stored.data()](int64_t first,
                                                                    Matrix<float> out) {
    const int64_t row_bytes = from.row_bytes(out.cols);
    for (int64_t i = 0; i < out.rows; ++i) {
      from.decode_row(data + (first + i) * row_bytes, {out.row(i), static_cast<size_t>(out.cols)});
    }
  };
  return stream;
}

/// X.weight as signed bytes and X.weight_scale, one a row: y[n] = scale[n] * sum over k of q[n, k]
/// * x[k].
void add_int8(const Checkpoint& checkpoint, const TensorInfo& tensor, NewModel& out) {
  TensorStream scales = stream_of(checkpoint, tensor);
  scales.name += kScaleEnding;
  scales.shape = {tensor.shape[0], 1};
  scales.to = DType::of<F32>();
  scales.rows = [decode = scales.rows, cols = tensor.shape[1]](int64_t first,
                                                               Matrix<float> column) {
    std::vector<float> row(static_cast<size_t>(cols));
    for (int64_t i = 0; i < column.rows; ++i) {
      decode(first + i, {row.data(), 1, cols, cols});
      column.row(i)[0] = W8A8::scale_of(row);
    }
  };
  scales.release = [] {};
  out.tensors.push_back(std::move(scales));
  out.types.push_back(F32::kSafetensorsName);
  TensorStream bytes = stream_of(checkpoint, tensor);
  bytes.int8_row = [](std::span<const float> row, std::byte* to) {
    W8A8::quantise(row, W8A8::scale_of(row), to);
  };
  out.tensors.push_back(std::move(bytes));
  out.types.emplace_back("I8");
}

/// Names of the tensors that hold the weights of products, with the modules they belong to.
Result<std::set<std::string>> product_tensors(const Model& model) {
  std::set<std::string> names;
  for (const Step& step : model.program.steps) {
    const auto* linear = std::get_if<Linear>(&step);
    if (linear == nullptr) continue;
    for (const WeightId weight : linear->weights) {
      const TensorInfo& tensor = model.weights->tensor(weight);
      if (model.weights->transform(weight) == Transform::kTranspose) {
        return unsupported(tensor.name,
                           "is stored [in, out], compressed-tensors has a form for [out, in] "
                           "alone; quantize to a .gguf file instead");
      }
      const std::string& name = model.program.weight(weight).name;
      if (name == model.architecture->head || name == model.architecture->embeddings) continue;
      names.insert(tensor.name);
    }
  }
  return names;
}

std::string module_of(std::string_view tensor) {
  return std::string(tensor.substr(0, tensor.rfind('.')));
}

/// quantization_config as llm-compressor writes it for its scheme W8A8: a scale per output channel,
/// activations by token while running.
Json w8a8_config(const std::vector<std::string>& ignored) {
  const auto arguments = [](std::string_view strategy, bool dynamic) {
    return Json{{"actorder", nullptr},
                {"block_structure", nullptr},
                {"dynamic", dynamic},
                {"group_size", nullptr},
                {"num_bits", 8},
                {"observer", dynamic ? Json() : Json("minmax")},
                {"observer_kwargs", Json::object()},
                {"strategy", strategy},
                {"symmetric", true},
                {"type", "int"}};
  };
  Json group = {{"input_activations", arguments("token", true)},
                {"output_activations", nullptr},
                {"targets", Json::array({"Linear"})},
                {"weights", arguments("channel", false)}};
  return {{"config_groups", {{"group_0", std::move(group)}}},
          {"format", "int-quantized"},
          {"global_compression_ratio", nullptr},
          {"ignore", ignored},
          {"kv_cache_scheme", nullptr},
          {"quant_method", "compressed-tensors"},
          {"quantization_status", "compressed"}};
}

/// Matrices as asked, all else as it is.
Result<NewModel> plan_floats(const ModelFiles& files, const QuantizeOptions& options) {
  const Checkpoint& checkpoint = *files.checkpoint;
  NewModel out{
      .tensors = {}, .types = {}, .fallbacks = {}, .model = nullptr, .config = files.config};
  ASSIGN_OR_RETURN(DTypeRules rules, DTypeRules::compile(options.keep, kKeepFlag));
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    TensorStream stream = stream_of(checkpoint, tensor);
    std::string_view type = tensor.type_name;
    if (tensor.dtype && tensor.shape.size() >= 2) {
      ASSIGN_OR_RETURN(const std::optional<DType> kept, rules.find({tensor.name}));
      const DType to = kept.value_or(options.dtype);
      if (!to.is_float()) {
        return unsupported(to.name(), "a folder takes f32, f16, bf16 or w8a8; name a .gguf file");
      }
      if (to != *tensor.dtype) stream.to = to;
      type = safetensors_type(to);
    }
    out.tensors.push_back(std::move(stream));
    out.types.push_back(type);
  }
  RETURN_IF_ERROR(rules.check_all_found(out.tensors.empty() ? "none" : out.tensors[0].name));
  const std::string_view key = out.config.contains("dtype") ? "dtype" : "torch_dtype";
  out.config[std::string(key)] = config_type(options.dtype);
  return out;
}

/// Products as signed bytes but for those that --keep names; head and embeddings as they are.
Result<NewModel> plan_w8a8(ModelFiles files, const QuantizeOptions& options) {
  const Checkpoint& checkpoint = *files.checkpoint;  // stays where it is when `files` moves
  NewModel out{
      .tensors = {}, .types = {}, .fallbacks = {}, .model = nullptr, .config = files.config};
  ASSIGN_OR_RETURN(Model made, make_model(std::move(files)));
  out.model = std::make_unique<const Model>(std::move(made));
  ASSIGN_OR_RETURN(const std::set<std::string> products, product_tensors(*out.model));
  std::vector<std::string> ignored;
  if (checkpoint.find(out.model->architecture->head) != nullptr ||
      out.model->config.tie_word_embeddings) {
    ignored.push_back(module_of(out.model->architecture->head));
  }
  ASSIGN_OR_RETURN(DTypeRules rules, DTypeRules::compile(options.keep, kKeepFlag));
  for (const TensorInfo& tensor : checkpoint.tensors()) {
    const bool is_product = products.contains(tensor.name);
    std::optional<DType> kept;
    if (tensor.shape.size() == 2) {
      ASSIGN_OR_RETURN(kept, rules.find({tensor.name}));
    }
    if (kept && !kept->is_float()) {
      return unsupported(kept->name(), "beside w8a8 a folder takes f32, f16 and bf16");
    }
    if (is_product && !kept && DType::of<W8A8>().fits_row(tensor.shape[1])) {
      add_int8(checkpoint, tensor, out);
      continue;
    }
    if (is_product) ignored.push_back(module_of(tensor.name));
    TensorStream stream = stream_of(checkpoint, tensor);
    if (kept && kept != tensor.dtype) stream.to = kept;
    out.types.push_back(kept ? safetensors_type(*kept) : tensor.type_name);
    out.tensors.push_back(std::move(stream));
  }
  RETURN_IF_ERROR(rules.check_all_found(products.empty() ? "none" : *products.begin()));
  out.config["quantization_config"] = w8a8_config(ignored);
  return out;
}

/// Bytes of the widest value first, so that all data is aligned.
std::vector<size_t> aligned_order(const NewModel& content) {
  std::vector<size_t> order(content.tensors.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  const auto value_bytes = [&](size_t i) {
    const TensorStream& tensor = content.tensors[i];
    const int64_t values = tensor.num_values();
    return values == 0 ? 0 : static_cast<int64_t>(tensor.num_bytes()) / values;
  };
  std::ranges::stable_sort(order, std::greater(), value_bytes);
  return order;
}

Result<void> copy_files(const fs::path& from, const fs::path& to) {
  for (const std::string_view name : kCopiedFiles) {
    std::error_code failed;
    if (!fs::is_regular_file(from / name, failed)) continue;
    if (fs::copy_file(from / name, to / name, failed)) continue;
    return Error{.code = ErrorCode::kSystem,
                 .message = cat((to / name).string(), ": cannot write: ", failed.message()),
                 .what = (to / name).string()};
  }
  return {};
}

}  // namespace

Result<QuantizeReport> quantize_to_folder(ModelFiles files, const fs::path& target,
                                          const QuantizeOptions& options) {
  fs::path out = target;
  if (!out.has_filename()) out = out.parent_path();  // "folder/"
  const Checkpoint& checkpoint = *files.checkpoint;  // stays where it is when `files` moves
  const fs::path folder = files.location.folder;
  if (checkpoint.format() == Checkpoint::Format::kGguf) {
    return unsupported(files.location.weights.string(),
                       "a folder is made of a Hugging Face folder alone; name a .gguf file");
  }
  if (files.config.is_object() && files.config.contains("quantization_config")) {
    return unsupported(folder.string(), "is quantised already; start from the model as trained");
  }
  RETURN_IF_ERROR(check_folder_target(checkpoint, out, options.force));
  ASSIGN_OR_RETURN(const NewModel content, options.dtype == DType::of<W8A8>()
                                               ? plan_w8a8(std::move(files), options)
                                               : plan_floats(files, options));

  QuantizeReport report;
  std::vector<SafetensorsTensor> heads;
  uint64_t tensor_bytes = 0;
  int64_t num_values = 0;
  const std::vector<size_t> order = aligned_order(content);
  for (const size_t i : order) {
    const TensorStream& tensor = content.tensors[i];
    heads.push_back({tensor.name, content.types[i], tensor.shape, tensor.num_bytes()});
    tensor_bytes += tensor.num_bytes();
    const bool is_scale = content.model && tensor.name.ends_with(kScaleEnding);
    if (!is_scale) num_values += tensor.num_values();
    std::string to = tensor.from;
    if (tensor.to) to = tensor.to->name();
    if (tensor.int8_row) to = "int8";
    report.tensors.push_back({tensor.name, tensor.from, std::move(to)});
  }
  const std::string head = safetensors_head(heads);
  const uint64_t file_bytes = head.size() + tensor_bytes;

  ASSIGN_OR_RETURN(NewFolder made, NewFolder::create(out));
  ASSIGN_OR_RETURN(NewFile file, NewFile::create(made.beside() / "model.safetensors"));
  RETURN_IF_ERROR(file.reserve(file_bytes));
  RETURN_IF_ERROR(file.write(std::as_bytes(std::span(head))));
  ThreadPool pool(options.threads);
  uint64_t position = head.size();
  const auto progress = [&](uint64_t bytes) {
    position += bytes;
    return !options.progress ||
           options.progress(static_cast<double>(position) / static_cast<double>(file_bytes));
  };
  for (const size_t i : order) {
    const TensorStream& tensor = content.tensors[i];
    ASSIGN_OR_RETURN(const bool whole, write_tensor(tensor, pool, file, progress));
    tensor.release();
    if (!whole) {
      report.interrupted = true;
      return report;
    }
  }
  RETURN_IF_ERROR(file.commit());
  RETURN_IF_ERROR(copy_files(folder, made.beside()));
  RETURN_IF_ERROR(
      write_file_atomically(made.beside() / "config.json", dump_json(content.config) + "\n"));
  RETURN_IF_ERROR(made.commit());

  report.in_bytes = checkpoint.file_bytes();
  report.out_bytes = file_bytes;
  if (num_values > 0) {
    report.bits_per_weight =
        static_cast<double>(tensor_bytes) * 8 / static_cast<double>(num_values);
  }
  return report;
}

}  // namespace quern
