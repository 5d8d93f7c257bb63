#include "models/quantize.h"

#include <algorithm>
#include <memory>

#include "base/cat.h"
#include "checkpoint/gguf_writer.h"
#include "models/gguf_export.h"
#include "models/quantize_target.h"
#include "models/tensor_rules.h"
#include "models/tensor_stream.h"

namespace quern {

namespace {

namespace fs = std::filesystem;

constexpr std::string_view kFileType = "general.file_type";
constexpr std::string_view kVersion = "general.quantization_version";
constexpr uint32_t kQuantizationVersion = 2;  // ggml's
constexpr int64_t kDefaultAlignment = 32;

/// Everything a new GGUF file is made of.
struct NewGguf {
  GgufEntries entries;
  std::vector<TensorStream> tensors;
  std::vector<Fallback> fallbacks;
  uint64_t alignment = kDefaultAlignment;
  std::unique_ptr<const Model> model;  // of a Hugging Face folder: `tensors` read from it
};

uint32_t gguf_type_number(const TensorInfo& tensor) {
  const auto types = gguf_types();
  return std::ranges::find(types, tensor.type_name, &GgufType::name)->number;
}

/// Numbers that are no weights: indices, and what nobody multiplies by.
bool is_plain_data(const TensorInfo& tensor) {
  constexpr std::string_view kTypes[] = {"I8", "I16", "I32", "I64", "F64"};
  return std::ranges::find(kTypes, tensor.type_name) != std::end(kTypes);
}

/// What a tensor of a GGUF file becomes; nothing where it stays as it is. Vectors are f32, as
/// llama.cpp wants them. A matrix is quantised where it is a weight: tables of other names (of
/// state space models, say) are read by operations that know one type alone.
Result<std::optional<DType>> choose_type(const TensorInfo& tensor, std::string_view weight_name,
                                         const QuantizeOptions& options, DTypeRules& rules,
                                         std::vector<Fallback>& fallbacks) {
  if (is_plain_data(tensor)) return std::optional<DType>();
  std::optional<DType> to = DType::of<F32>();
  if (tensor.shape.size() >= 2) {
    ASSIGN_OR_RETURN(const std::optional<DType> kept, rules.find({tensor.name, weight_name}));
    if (!kept && !tensor.name.ends_with(".weight")) return std::optional<DType>();
    to = fitting_or_fallback(tensor.name, kept.value_or(options.dtype), tensor.shape.back(),
                             fallbacks);
  }
  if (to == tensor.dtype) return std::optional<DType>();
  if (!tensor.dtype) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat("tensor ", shown_name(tensor.name), " is stored as ",
                                tensor.type_name, ", which quern cannot read; supported: ",
                                dtype_names(), "; start from a file in one of these"),
                 .what = tensor.name,
                 .found = std::string(tensor.type_name),
                 .wanted = dtype_names()};
  }
  return to;
}

TensorStream stream_of(const Checkpoint& checkpoint, const TensorInfo& tensor,
                       std::optional<DType> to) {
  TensorStream stream{.name = tensor.name,
                      .from = stored_type(tensor),
                      .shape = tensor.shape,
                      .to = to,
                      .stored = checkpoint.bytes(tensor),
                      .rows = {},
                      .release = [&checkpoint, &tensor] { checkpoint.release(tensor); }};
  if (to) {
    stream.rows = [from = *tensor.dtype, data = stream.stored.data()](int64_t first,
                                                                      Matrix<float> out) {
      const int64_t row_bytes = from.row_bytes(out.cols);
      for (int64_t i = 0; i < out.rows; ++i) {
        from.decode_row(data + (first + i) * row_bytes,
                        {out.row(i), static_cast<size_t>(out.cols)});
      }
    };
  }
  return stream;
}

/// The same file with other types: the model need not be one that quern runs.
Result<NewGguf> from_gguf(const ModelFiles& files, const QuantizeOptions& options) {
  const Checkpoint& checkpoint = *files.checkpoint;
  const MappedFile& file = checkpoint.files().front();
  ASSIGN_OR_RETURN(const auto entries, gguf_entries(file.bytes(), file.path().string()));
  NewGguf out;
  for (const GgufEntry& entry : entries) {
    if (entry.key != kFileType && entry.key != kVersion) out.entries.copy(entry);
  }
  out.alignment =
      static_cast<uint64_t>(checkpoint.integer("general.alignment").value_or(kDefaultAlignment));

  std::vector<const TensorInfo*> tensors;
  for (const TensorInfo& tensor : checkpoint.tensors()) tensors.push_back(&tensor);
  std::ranges::sort(tensors, {}, &TensorInfo::offset);
  const Architecture* architecture = find_gguf_architecture(files.architecture_name);
  ASSIGN_OR_RETURN(DTypeRules rules, DTypeRules::compile(options.keep, kKeepFlag));
  for (const TensorInfo* tensor : tensors) {
    std::string weight_name = tensor->name;
    if (architecture != nullptr) {
      const LayerRule found = rule_of_gguf_tensor(*architecture, tensor->name);
      if (found.rule != nullptr) weight_name = with_layer(found.rule->name, found.layer);
    }
    ASSIGN_OR_RETURN(const std::optional<DType> to,
                     choose_type(*tensor, weight_name, options, rules, out.fallbacks));
    out.tensors.push_back(stream_of(checkpoint, *tensor, to));
  }
  RETURN_IF_ERROR(rules.check_all_found(tensors.empty() ? "none" : tensors.front()->name));
  return out;
}

/// What llama.cpp's own converter would make of a Hugging Face folder.
Result<NewGguf> from_folder(ModelFiles files, const QuantizeOptions& options) {
  NewGguf out;
  ASSIGN_OR_RETURN(Model made, make_model(std::move(files)));
  out.model = std::make_unique<const Model>(std::move(made));
  const Model& model = *out.model;
  RETURN_IF_ERROR(write_gguf_metadata(model, out.entries));

  ASSIGN_OR_RETURN(std::optional<TensorStream> divisors, gguf_rope_divisors(model));
  if (divisors) out.tensors.push_back(*std::move(divisors));
  ASSIGN_OR_RETURN(DTypeRules rules, DTypeRules::compile(options.keep, kKeepFlag));
  for (size_t i = 0; i < model.program.weights.size(); ++i) {
    const WeightDecl& weight = model.program.weights[i];
    TensorStream stream = gguf_stream(model, WeightId{static_cast<int32_t>(i)});
    stream.to = DType::of<F32>();
    if (weight.kind == WeightDecl::Kind::kMatrix) {
      ASSIGN_OR_RETURN(const std::optional<DType> kept, rules.find({stream.name, weight.name}));
      stream.to = fitting_or_fallback(stream.name, kept.value_or(options.dtype), weight.cols,
                                      out.fallbacks);
    }
    out.tensors.push_back(std::move(stream));
  }
  RETURN_IF_ERROR(rules.check_all_found(out.tensors.back().name));
  return out;
}

/// The new file, whole at once.
Result<QuantizeReport> quantize_to_gguf(ModelFiles files, const fs::path& out,
                                        const QuantizeOptions& options) {
  const Checkpoint& checkpoint = *files.checkpoint;  // stays where it is when `files` moves
  const std::string in_name = files.location.weights.string();
  const bool is_gguf = checkpoint.format() == Checkpoint::Format::kGguf;
  Result<NewGguf> made =
      is_gguf ? from_gguf(files, options) : from_folder(std::move(files), options);
  if (!made) return with_context(std::move(made).error(), in_name);
  NewGguf& content = *made;
  content.entries.u32(kFileType, gguf_file_type(options.dtype));
  if (!options.dtype.is_float()) content.entries.u32(kVersion, kQuantizationVersion);

  QuantizeReport report;
  std::vector<GgufTensor> heads;
  uint64_t tensor_bytes = 0;
  int64_t num_values = 0;
  for (const TensorStream& tensor : content.tensors) {
    GgufTensor head{.name = tensor.name, .type = 0, .shape = tensor.shape};
    if (tensor.to && tensor.to->gguf_type() < 0) {
      return Error{.code = ErrorCode::kUnsupported,
                   .message = cat("tensor ", tensor.name, ": GGUF has no type ", tensor.to->name(),
                                  "; choose another"),
                   .what = tensor.name,
                   .found = std::string(tensor.to->name()),
                   .wanted = "a type of GGUF"};
    }
    if (tensor.to) {
      head.type = static_cast<uint32_t>(tensor.to->gguf_type());
    } else {
      head.type = gguf_type_number(*checkpoint.find(tensor.name));
    }
    tensor_bytes += head.num_bytes();
    num_values += tensor.num_values();
    report.tensors.push_back(
        {tensor.name, tensor.from, tensor.to ? std::string(tensor.to->name()) : tensor.from});
    heads.push_back(std::move(head));
  }
  ASSIGN_OR_RETURN(const GgufLayout layout,
                   lay_out_gguf(content.entries, heads, content.alignment));

  ASSIGN_OR_RETURN(NewFile file, NewFile::create(out));
  RETURN_IF_ERROR(file.reserve(layout.file_bytes));
  ThreadPool pool(options.threads);
  uint64_t position = 0;
  const auto progress = [&](uint64_t bytes) {
    position += bytes;
    const double share = static_cast<double>(position) / static_cast<double>(layout.file_bytes);
    return !options.progress || options.progress(share);
  };
  RETURN_IF_ERROR(file.write(std::as_bytes(std::span(layout.head))));
  position = layout.head.size();
  const auto pad_to = [&](uint64_t offset) -> Result<void> {
    const std::vector<std::byte> zeros(offset - position);
    position = offset;
    return file.write(zeros);
  };
  for (size_t i = 0; i < content.tensors.size(); ++i) {
    RETURN_IF_ERROR(pad_to(layout.offsets[i]));
    const TensorStream& tensor = content.tensors[i];
    ASSIGN_OR_RETURN(const bool whole, write_tensor(tensor, pool, file, progress));
    tensor.release();
    if (!whole) {
      report.interrupted = true;
      return report;
    }
    if (i == 0 && content.model) {
      // The head and the first tensor (the divisors of frequencies, where there are any) say what
      // the model is: a file that cannot say it is refused before the long work.
      ASSIGN_OR_RETURN(const Checkpoint begun, Checkpoint::open(file.beside()));
      RETURN_IF_ERROR(check_gguf_says_the_same(*content.model, begun));
    }
  }
  RETURN_IF_ERROR(pad_to(layout.file_bytes));
  RETURN_IF_ERROR(file.commit());

  report.in_bytes = checkpoint.file_bytes();
  report.out_bytes = layout.file_bytes;
  if (num_values > 0) {
    report.bits_per_weight =
        static_cast<double>(tensor_bytes) * 8 / static_cast<double>(num_values);
  }
  report.fallbacks = std::move(content.fallbacks);
  return report;
}

}  // namespace

Result<QuantizeReport> quantize_model(ModelFiles files, const fs::path& out,
                                      const QuantizeOptions& options) {
  if (out.extension() != ".gguf") return quantize_to_folder(std::move(files), out, options);
  if (options.dtype == DType::of<W8A8>()) {
    return bad_target(out, "is a GGUF file, which has no form for w8a8", "name a folder");
  }
  RETURN_IF_ERROR(check_file_target(*files.checkpoint, out, options.force));
  return quantize_to_gguf(std::move(files), out, options);
}

}  // namespace quern
