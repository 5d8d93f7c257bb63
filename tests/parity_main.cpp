// quern_parity MODEL REFERENCE [--executor E] [--isa I] [--dtype D] [--kv-cache-dtype K]
//
// Holds a model against what tools/record_reference.py recorded of it: every row of logits of the
// prompts and of the greedy continuations, teacher-forced, and the continuations themselves. Prints
// one JSON line: the largest |logit difference|, the mean KL divergence (reference || model) in
// nats, the share of equal arg-maxes (those the reference itself decides by less than 1e-3 left
// out), and how many free-running greedy tokens are equal before the first difference.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "base/file.h"
#include "base/json.h"
#include "llm/llm.h"
#include "models/model.h"

namespace quern {
namespace {

constexpr float kNearTie = 1e-3f;

struct Case {
  std::vector<int32_t> prompt, greedy;
  int64_t rows = 0;
};

struct Totals {
  double max_difference = 0;
  double kl_sum = 0;
  int64_t rows = 0;
  int64_t decided = 0;  // rows whose best two the reference tells apart
  int64_t same = 0;     // of those, equal arg-max
  int64_t free_equal = 0, free_all = 0;
};

/// Compares each row with the recorded one.
class RowComparer final : public PromptRowSink {
 public:
  RowComparer(const float* rows, int64_t num_rows, Totals& totals)
      : rows_(rows), num_rows_(num_rows), totals_(totals) {}

  void on_row(int64_t position, std::span<const float> logits) override {
    if (position >= num_rows_) return;
    const float* expected = rows_ + position * static_cast<int64_t>(logits.size());
    double most_p = -INFINITY, most_q = -INFINITY;
    size_t best_p = 0, best_q = 0;
    float second_p = -INFINITY;
    for (size_t v = 0; v < logits.size(); ++v) {
      totals_.max_difference =
          std::max(totals_.max_difference, std::abs(double{logits[v]} - double{expected[v]}));
      if (expected[v] > most_p) {
        second_p = static_cast<float>(most_p);
        most_p = expected[v];
        best_p = v;
      } else if (expected[v] > second_p) {
        second_p = expected[v];
      }
      if (logits[v] > most_q) {
        most_q = logits[v];
        best_q = v;
      }
    }
    double sum_p = 0, sum_q = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
      sum_p += std::exp(double{expected[v]} - most_p);
      sum_q += std::exp(double{logits[v]} - most_q);
    }
    double kl = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
      const double log_p = double{expected[v]} - most_p - std::log(sum_p);
      const double log_q = double{logits[v]} - most_q - std::log(sum_q);
      kl += std::exp(log_p) * (log_p - log_q);
    }
    totals_.kl_sum += kl;
    ++totals_.rows;
    if (most_p - second_p >= kNearTie) {
      ++totals_.decided;
      totals_.same += best_p == best_q;
    }
  }

 private:
  const float* rows_;
  int64_t num_rows_;
  Totals& totals_;
};

Result<std::vector<Case>> read_cases(const std::string& folder) {
  ASSIGN_OR_RETURN(const std::string text, read_file(folder + "/cases.jsonl", 1 << 28));
  std::vector<Case> cases;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    ASSIGN_OR_RETURN(const Json line, parse_json(text.substr(begin, end - begin), "cases.jsonl"));
    cases.push_back({line["prompt_token_ids"].get<std::vector<int32_t>>(),
                     line["greedy"].get<std::vector<int32_t>>(), line["rows"].get<int64_t>()});
    begin = end + 1;
  }
  return cases;
}

Request greedy_request(std::vector<int32_t> prompt, int64_t max_tokens) {
  Request request;
  request.prompt = std::move(prompt);
  request.sampling.temperature = 0;
  request.max_tokens = max_tokens;
  request.ignore_eos = true;
  return request;
}

Result<Totals> compare(Llm& llm, const std::vector<Case>& cases, const MappedFile& logits) {
  Totals totals;
  const auto* row = reinterpret_cast<const float*>(logits.bytes().data());
  for (const Case& c : cases) {
    std::vector<int32_t> forced = c.prompt;
    forced.insert(forced.end(), c.greedy.begin(), c.greedy.end());  // the last one is only fed
    Request request = greedy_request(forced, 1);
    request.prompt_rows = std::make_shared<RowComparer>(row, c.rows, totals);
    RETURN_IF_ERROR(llm.answer(std::move(request)));
    row += c.rows * llm.plan().program.vocab_size;

    ASSIGN_OR_RETURN(const RequestResult free_run,
                     llm.answer(greedy_request(c.prompt, static_cast<int64_t>(c.greedy.size()))));
    const auto [mine, theirs] = std::ranges::mismatch(free_run.token_ids, c.greedy);
    totals.free_equal += mine - free_run.token_ids.begin();
    totals.free_all += static_cast<int64_t>(c.greedy.size());
  }
  return totals;
}

Result<int> run(const std::vector<std::string>& words) {
  RunOptions options;
  options.max_num_seqs = 1;
  options.extra_wanted_rows = 64;
  options.enable_prefix_caching = false;
  for (size_t i = 2; i + 1 < words.size(); i += 2) {
    if (words[i] == "--executor") options.executor = words[i + 1];
    if (words[i] == "--isa") options.exec.isa = words[i + 1];
    if (words[i] == "--dtype") options.dtype = DType::from_name(words[i + 1]);
    if (words[i] == "--kv-cache-dtype") options.kv_cache_dtype = DType::from_name(words[i + 1]);
  }
  ASSIGN_OR_RETURN(const Model model, open_model(words[0], {}));
  ASSIGN_OR_RETURN(const std::vector<Case> cases, read_cases(words[1]));
  ASSIGN_OR_RETURN(const MappedFile logits, MappedFile::open(words[1] + "/logits.f32"));
  int64_t rows = 0, longest = 0;
  for (const Case& c : cases) {
    rows += c.rows;
    longest = std::max(longest, static_cast<int64_t>(c.prompt.size() + c.greedy.size()));
  }
  if (static_cast<int64_t>(logits.bytes().size()) != rows * model.program.vocab_size * 4) {
    return Error{.code = ErrorCode::kBadFile, .message = "logits.f32 does not fit cases.jsonl"};
  }
  options.max_model_len = std::min(longest + 1, model.program.context_length);
  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, Llm::load(model, options));
  ASSIGN_OR_RETURN(const Totals totals, compare(*llm, cases, logits));
  const Json out{{"max_abs_difference", totals.max_difference},
                 {"mean_kl", totals.kl_sum / static_cast<double>(totals.rows)},
                 {"rows", totals.rows},
                 {"same_top1", totals.same},
                 {"decided", totals.decided},
                 {"greedy_equal", totals.free_equal},
                 {"greedy_all", totals.free_all},
                 {"isa", llm->executor().isa()}};
  std::printf("%s\n", dump_json(out).c_str());
  return 0;
}

}  // namespace
}  // namespace quern

int main(int count, char** words) {
  if (count < 3) {
    std::fprintf(stderr,
                 "usage: quern_parity MODEL REFERENCE [--executor E] [--isa I] "
                 "[--dtype D] [--kv-cache-dtype K]\n");
    return 2;
  }
  const auto status = quern::run(std::vector<std::string>(words + 1, words + count));
  if (status) return *status;
  std::fprintf(stderr, "error: %s\n", status.error().message.c_str());
  return quern::exit_status(status.error().code);
}
