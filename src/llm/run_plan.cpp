#include "llm/run_plan.h"

#include <algorithm>

#include "base/memory.h"

namespace quern {

namespace {

std::string mebibytes(int64_t bytes) { return cat((bytes + (1 << 20) - 1) >> 20, " MiB"); }

/// What the process takes beside weights, cache and work: code, heap, tokenizer, file headers.
/// Measured on models of 0 to 262 thousand tokens and rounded up.
int64_t process_bytes(const Model& model) {
  constexpr int64_t kBase = int64_t{20} << 20;
  constexpr int64_t kPerToken = 320;  // of the vocabulary: texts, merges, tables
  constexpr int64_t kPerTensor = 2048;
  return kBase + kPerToken * model.program.vocab_size +
         kPerTensor * static_cast<int64_t>(model.files.checkpoint->tensors().size());
}

/// The plan of one context length and number of sequences, all else decided.
class Sizer {
 public:
  Sizer(const ExecutorKind& executor, const RunPlan& plan, const RunOptions& options,
        int64_t process_bytes)
      : executor_(executor), plan_(plan), options_(options), process_bytes_(process_bytes) {}

  ExecShape shape(int64_t max_model_len, int64_t max_num_seqs) const {
    ExecShape shape = plan_.shape;
    shape.max_model_len = max_model_len;
    shape.max_num_seqs = max_num_seqs;
    shape.max_batched_tokens = options_.no_kv_cache
                                   ? std::max(options_.max_num_batched_tokens, max_model_len)
                                   : options_.max_num_batched_tokens;
    shape.max_wanted_rows = max_num_seqs + options_.extra_wanted_rows;
    shape.kv_blocks =
        kv_blocks_for(plan_.program, max_model_len, max_num_seqs, shape.max_batched_tokens);
    if (plan_.most_kv_bytes) {
      bound_kv(shape, *plan_.most_kv_bytes);
    }
    return shape;
  }

  int64_t kv_bytes(const std::vector<int64_t>& blocks) const {
    int64_t bytes = 0;
    for (size_t g = 0; g < blocks.size(); ++g) {
      bytes += blocks[g] * kKvBlockTokens *
               kv_bytes_per_token(plan_.program, static_cast<int32_t>(g), plan_.shape.kv_dtype);
    }
    return bytes;
  }

  EngineOptions engine(const ExecShape& shape) const {
    EngineOptions engine = engine_options(plan_.program, shape);
    engine.prefix_caching = options_.enable_prefix_caching && !options_.no_kv_cache;
    engine.no_kv_cache = options_.no_kv_cache;
    engine.static_scheduling = options_.static_scheduling;
    engine.max_live_requests = options_.max_live_requests;
    engine.max_live_tokens = options_.max_live_tokens;
    engine.max_step_stretch = options_.max_step_stretch;
    engine.max_salt_share = options_.max_salt_share;
    engine.hash_key = options_.hash_key;
    return engine;
  }

  MemoryNeed need(const ExecShape& shape) const {
    MemoryNeed need = executor_.need(plan_.program, plan_.types, shape, options_.exec);
    need.work += engine_bytes(engine(shape));
    need.other += process_bytes_;
    return need;
  }

  /// The largest value of [0, high] for which `fits` holds, which it does below any value for which
  /// it does; 0 if for none.
  template <typename Fits>
  static int64_t largest(int64_t high, const Fits& fits) {
    int64_t low = 0;
    while (low < high) {
      const int64_t middle = low + (high - low + 1) / 2;
      if (fits(middle)) {
        low = middle;
      } else {
        high = middle - 1;
      }
    }
    return low;
  }

 private:
  /// Fewer blocks than all sequences at their longest need: one sequence's in each group, whatever
  /// that takes, and of what the others need an equal part.
  void bound_kv(ExecShape& shape, int64_t bytes) const {
    const int64_t all_bytes = kv_bytes(shape.kv_blocks);
    if (all_bytes <= bytes) return;
    const std::vector<int64_t> alone =
        kv_blocks_for(plan_.program, shape.max_model_len, 1, shape.max_batched_tokens);
    const int64_t alone_bytes = kv_bytes(alone);
    const double part = bytes <= alone_bytes ? 0
                                             : static_cast<double>(bytes - alone_bytes) /
                                                   static_cast<double>(all_bytes - alone_bytes);
    for (size_t g = 0; g < shape.kv_blocks.size(); ++g) {
      const auto others = static_cast<double>(shape.kv_blocks[g] - alone[g]);
      shape.kv_blocks[g] = alone[g] + static_cast<int64_t>(others * part);
    }
  }

  const ExecutorKind& executor_;
  const RunPlan& plan_;
  const RunOptions& options_;
  int64_t process_bytes_;
};

}  // namespace

Error RunPlan::does_not_fit() const {
  if (!kv_fits()) {
    const std::string advice = max_context_that_fits > 0
                                   ? cat("raise it, or try --max-model-len ", max_context_that_fits)
                                   : std::string("raise it");
    return {.code = ErrorCode::kDoesNotFit,
            .message = cat("--kv-cache-memory-bytes: one sequence of ", shape.max_model_len,
                           " tokens takes ", need.kv, " bytes of keys and values, found ",
                           *most_kv_bytes, "; ", advice),
            .what = "--kv-cache-memory-bytes",
            .found = cat(*most_kv_bytes),
            .wanted = cat("at least ", need.kv),
            .try_next = advice};
  }
  const std::string needs = cat(mebibytes(need.total()), " (weights ", mebibytes(need.weights),
                                ", KV cache ", mebibytes(need.kv), ", work ", mebibytes(need.work),
                                ", other ", mebibytes(need.other), ")");
  const std::string advice =
      max_context_that_fits > 0
          ? cat("try --max-model-len ", max_context_that_fits,
                max_seqs_that_fit > 0 ? cat(" or --max-num-seqs ", max_seqs_that_fit) : "",
                ", a smaller --dtype, or more memory")
          : std::string("try a smaller --dtype or a larger --memory-limit");
  return {.code = ErrorCode::kDoesNotFit,
          .message =
              cat("memory: needs ", needs, " for ", shape.max_num_seqs, " sequences of ",
                  shape.max_model_len, " tokens, has ", mebibytes(available_bytes), "; ", advice),
          .what = "memory",
          .found = mebibytes(available_bytes),
          .wanted = needs,
          .try_next = advice};
}

Error beyond_context(std::string_view flag, int64_t found, int64_t context) {
  return Error{.code = ErrorCode::kDoesNotFit,
               .message = cat(flag, ": found ", found, ", the context is ", context,
                              "; ask for at most that"),
               .what = std::string(flag),
               .found = cat(found),
               .wanted = cat("at most ", context),
               .try_next = cat(flag, " ", context)};
}

Result<RunPlan> plan_run(const Model& model, const RunOptions& options) {
  ASSIGN_OR_RETURN(const ExecutorKind* executor, find_executor(options.executor));
  RunPlan plan;
  ASSIGN_OR_RETURN(plan.program, fuse(model.program, options.fuse));
  ASSIGN_OR_RETURN(
      WeightChoice weights,
      choose_weight_types(plan.program, *model.weights, options.dtype, options.dtype_overrides));
  plan.types = std::move(weights.types);
  plan.fallbacks = std::move(weights.fallbacks);
  plan.shape.kv_dtype = options.kv_cache_dtype.value_or(default_kv_dtype(plan.program, plan.types));
  plan.shape.no_kv_cache = options.no_kv_cache;
  if (options.kv_cache_memory_bytes) {
    plan.most_kv_bytes =
        static_cast<int64_t>(std::min<uint64_t>(*options.kv_cache_memory_bytes, INT64_MAX));
  }
  RETURN_IF_ERROR(executor->check(plan.program, plan.types, plan.shape.kv_dtype, options.exec));
  for (size_t group = 0; group < plan.program.kv_groups.size(); ++group) {
    plan.kv_bytes_per_token +=
        kv_bytes_per_token(plan.program, static_cast<int32_t>(group), plan.shape.kv_dtype);
  }

  const int64_t context = plan.program.context_length;
  if (options.max_model_len && *options.max_model_len > context) {
    return beyond_context("--max-model-len", *options.max_model_len, context);
  }
  plan.available_bytes = options.memory_limit ? static_cast<int64_t>(*options.memory_limit)
                                              : available_memory_bytes() / 10 * 9;

  const Sizer sizer(*executor, plan, options, process_bytes(model));
  const auto fits = [&](int64_t len, int64_t seqs) {
    const MemoryNeed need = sizer.need(sizer.shape(len, seqs));
    return need.total() <= plan.available_bytes &&
           need.kv <= plan.most_kv_bytes.value_or(INT64_MAX);
  };
  plan.max_context_that_fits =
      Sizer::largest(context, [&](int64_t len) { return fits(len, options.max_num_seqs); });
  int64_t len = options.max_model_len.value_or(context);
  if (!options.max_model_len && plan.max_context_that_fits > 0) {
    len = plan.max_context_that_fits;
    // Whole blocks: a part of one would be reserved and never used.
    if (len < context && len > kKvBlockTokens) len = len / kKvBlockTokens * kKvBlockTokens;
    plan.context_lowered = len < context;
  }
  constexpr int64_t kMostSequences = 1 << 16;
  plan.max_seqs_that_fit =
      Sizer::largest(kMostSequences, [&](int64_t seqs) { return fits(len, seqs); });
  plan.shape = sizer.shape(len, options.max_num_seqs);
  plan.engine = sizer.engine(plan.shape);
  plan.need = sizer.need(plan.shape);
  return plan;
}

}  // namespace quern
