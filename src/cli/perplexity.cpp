#include "measure/perplexity.h"

#include "base/file.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "llm/prompter.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = uint64_t{1} << 30;
constexpr int64_t kMostLogitBytes = int64_t{128} << 20;  // of one step's rows

Result<std::vector<int32_t>> ids_of_json(const std::string& text, const std::string& file) {
  ASSIGN_OR_RETURN(const Json list, parse_json(text, file, ErrorCode::kBadInput));
  std::vector<int32_t> ids;
  const bool right = list.is_array() && std::ranges::all_of(list, [](const Json& item) {
                       return item.is_number_integer() && item.get<int64_t>() >= 0 &&
                              item.get<int64_t>() <= INT32_MAX;
                     });
  if (!right) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat(file, ": wanted a JSON array of token ids"),
                 .what = file};
  }
  for (const Json& item : list) ids.push_back(item.get<int32_t>());
  return ids;
}

Result<PerplexityMethod> read_method(const Arguments& arguments) {
  const std::string word = arguments.text("--method").value_or("window");
  if (word == "window") return PerplexityMethod::kWindow;
  if (word == "llama.cpp") return PerplexityMethod::kLlamaCpp;
  return bad_value("--method", word, "window or llama.cpp");
}

/// The load flags of --reference: those of the command, but for its own types.
Result<RunOptions> reference_options(const Arguments& arguments, RunOptions options) {
  options.dtype_overrides.clear();
  ASSIGN_OR_RETURN(options.dtype, read_dtype(arguments, "--reference-dtype"));
  ASSIGN_OR_RETURN(options.kv_cache_dtype, read_dtype(arguments, "--reference-kv-cache-dtype"));
  ASSIGN_OR_RETURN(options.exec.activations,
                   read_activations(arguments, "--reference-activations"));
  return options;
}

Result<int> run_perplexity(const Arguments& arguments) {
  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(const PerplexityMethod method, read_method(arguments));
  const bool like_llama_cpp = method == PerplexityMethod::kLlamaCpp;
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  const int64_t most = model->program.context_length;
  const int64_t context = options.max_model_len.value_or(most);
  if (context > most) return beyond_context("--max-model-len", context, most);
  ASSIGN_OR_RETURN(const auto asked_ctx, arguments.integer("--ctx", 2, INT32_MAX));
  const int64_t ctx = asked_ctx.value_or(std::min<int64_t>(512, context));
  if (ctx > context) return beyond_context("--ctx", ctx, context);

  const std::string file = arguments.positional().back();
  std::string text;
  if (file == "-") {
    ASSIGN_OR_RETURN(text, read_stdin(kMostBytes));
  } else {
    ASSIGN_OR_RETURN(text, read_file(file, kMostBytes));
  }
  const Prompter prompter(*model);
  std::vector<int32_t> ids;
  std::optional<int32_t> bos;
  if (arguments.on("--ids")) {
    ASSIGN_OR_RETURN(ids, ids_of_json(text, file));
  } else {
    ASSIGN_OR_RETURN(ids, prompter.encode(text, {}));
  }
  if (like_llama_cpp && prompter.tokenizer() != nullptr) {
    ASSIGN_OR_RETURN(const std::vector<int32_t> framed, prompter.encode("", {}));
    if (!framed.empty()) bos = framed.front();
  }
  const std::vector<PerplexityWindow> windows = perplexity_windows(ids, ctx, method, bos);
  if (windows.empty()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat(file, ": has ", ids.size(), " tokens, wanted at least ",
                                like_llama_cpp ? ctx : 2, " so that something can be scored"),
                 .what = file,
                 .found = cat(ids.size(), " tokens")};
  }

  options.max_model_len = ctx;
  options.max_num_seqs = 1;
  options.enable_prefix_caching = false;
  options.extra_wanted_rows = std::clamp<int64_t>(kMostLogitBytes / (4 * model->program.vocab_size),
                                                  std::min<int64_t>(16, ctx), ctx);
  options.exec.progress = progress_bar("loading");
  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, Llm::load(*model, options));

  std::unique_ptr<Model> reference_model;
  std::unique_ptr<Llm> reference;
  if (const auto name = arguments.text("--reference")) {
    ASSIGN_OR_RETURN(reference_model, open_named_model(*name));
    if (reference_model->program.vocab_size != model->program.vocab_size) {
      return Error{.code = ErrorCode::kUsage,
                   .message = cat("--reference ", *name, ": has a vocabulary of ",
                                  reference_model->program.vocab_size, ", the model one of ",
                                  model->program.vocab_size),
                   .what = "--reference"};
    }
    ASSIGN_OR_RETURN(const RunOptions other, reference_options(arguments, options));
    ASSIGN_OR_RETURN(reference, Llm::load(*reference_model, other));
  }
  ASSIGN_OR_RETURN(const PerplexityReport report,
                   measure_perplexity(*llm, reference.get(), windows));

  const double rate = static_cast<double>(report.tokens) / report.seconds;
  if (!arguments.on("--json")) {
    print_text(cat(
        "perplexity ", report.perplexity(), " over ", report.scored, " tokens (", windows.size(),
        " windows of ", ctx, ")\n",
        report.kl ? cat("KL divergence mean ", report.kl->mean, ", p99 ", report.kl->p99, ", max ",
                        report.kl->max, ", same top token ", report.kl->same_top1, "\n")
                  : std::string()));
    return 0;
  }
  Json kl;
  if (report.kl) {
    kl = {{"mean", report.kl->mean},
          {"p99", report.kl->p99},
          {"max", report.kl->max},
          {"same_top1", report.kl->same_top1}};
  }
  print_json({{"perplexity", report.perplexity()},
              {"nll_mean", report.nll_mean()},
              {"nll_sum", report.nll_sum},
              {"tokens", report.tokens},
              {"scored", report.scored},
              {"ctx", ctx},
              {"method", like_llama_cpp ? "llama.cpp" : "window"},
              {"tokens_per_second", rate},
              {"kl", std::move(kl)}});
  return 0;
}

constexpr std::string_view kFlags[] = {"--model",
                                       "--ids",
                                       "--ctx",
                                       "--method",
                                       "--reference",
                                       "--reference-dtype",
                                       "--reference-kv-cache-dtype",
                                       "--reference-activations"};

}  // namespace

const Command kPerplexityCommand = {
    {.name = "perplexity",
     .arguments = "MODEL FILE|-",
     .summary = "how well the model predicts a text, and how far from another model it is",
     .min_positional = 2,
     .max_positional = 2,
     .load_flags = true,
     .flags = kFlags},
    run_perplexity};

}  // namespace quern
