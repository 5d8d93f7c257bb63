#include "measure/perplexity.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "engine/logprobs.h"
#include "measure/statistics.h"

namespace quern {

std::vector<PerplexityWindow> perplexity_windows(std::span<const int32_t> ids, int64_t ctx,
                                                 PerplexityMethod method,
                                                 std::optional<int32_t> bos) {
  const auto size = static_cast<size_t>(ctx);
  std::vector<PerplexityWindow> windows;
  for (size_t begin = 0; begin < ids.size(); begin += size) {
    const auto part = ids.subspan(begin, std::min(size, ids.size() - begin));
    PerplexityWindow window{.ids = {part.begin(), part.end()}, .first_scored = 1};
    if (method == PerplexityMethod::kLlamaCpp) {
      if (part.size() < size) break;
      if (bos) window.ids.front() = *bos;
      window.first_scored = ctx / 2 + 1;
    }
    if (window.num_scored() > 0) windows.push_back(std::move(window));
  }
  return windows;
}

double PerplexityReport::perplexity() const { return std::exp(nll_mean()); }

namespace {

/// Keeps the log-probabilities of a window's scored rows, or scores against those kept.
class WindowRows final : public PromptRowSink {
 public:
  explicit WindowRows(const PerplexityWindow& window, bool keep) : window_(window), keep_(keep) {}

  void on_row(int64_t position, std::span<const float> logits) override {
    const int64_t scored = position + 1 - window_.first_scored;
    if (scored < 0 || position + 1 >= static_cast<int64_t>(window_.ids.size())) return;
    const LogSoftmax softmax(logits);
    const int32_t target = window_.ids[static_cast<size_t>(position + 1)];
    nll_ -= static_cast<double>(softmax.logprob(logits[static_cast<size_t>(target)]));
    if (keep_) {
      for (const float logit : logits) rows_.push_back(softmax.logprob(logit));
    } else if (reference_ != nullptr) {
      compare(logits, softmax, scored);
    }
  }

  void compare_with(const WindowRows* reference) { reference_ = reference; }
  double nll() const { return nll_; }
  const std::vector<double>& divergences() const { return divergences_; }
  int64_t same_top1() const { return same_top1_; }

 private:
  void compare(std::span<const float> logits, const LogSoftmax& softmax, int64_t scored) {
    const std::span<const float> other(
        reference_->rows_.data() + static_cast<size_t>(scored) * logits.size(), logits.size());
    double divergence = 0;
    for (size_t v = 0; v < logits.size(); ++v) {
      const double log_p = other[v];
      divergence += std::exp(log_p) * (log_p - static_cast<double>(softmax.logprob(logits[v])));
    }
    // Rounding alone can put the sum of equal rows a hair below zero.
    divergences_.push_back(std::max(0.0, divergence));
    same_top1_ += std::ranges::max_element(logits) - logits.begin() ==
                  std::ranges::max_element(other) - other.begin();
  }

  const PerplexityWindow& window_;
  bool keep_;
  const WindowRows* reference_ = nullptr;
  double nll_ = 0;
  std::vector<float> rows_;  // [scored, V]
  std::vector<double> divergences_;
  int64_t same_top1_ = 0;
};

/// Sends one window through a model; every row of it reaches `rows`.
Result<void> run_window(Llm& model, const PerplexityWindow& window,
                        std::shared_ptr<WindowRows> rows) {
  Request request;
  request.prompt = window.ids;
  request.sampling.temperature = 0;
  request.max_tokens = 1;
  request.ignore_eos = true;
  request.prompt_rows = std::move(rows);
  ASSIGN_OR_RETURN(const RequestResult done, model.answer(std::move(request)));
  ENSURE(done.prompt_tokens == static_cast<int64_t>(window.ids.size()));
  return {};
}

}  // namespace

Result<PerplexityReport> measure_perplexity(Llm& model, Llm* reference,
                                            std::span<const PerplexityWindow> windows) {
  PerplexityReport report;
  std::vector<double> divergences;
  int64_t same_top1 = 0;
  const int64_t start_ns = steady_clock().now_ns();
  for (const PerplexityWindow& window : windows) {
    const auto rows = std::make_shared<WindowRows>(window, false);
    std::shared_ptr<WindowRows> other;
    if (reference != nullptr) {
      other = std::make_shared<WindowRows>(window, true);
      RETURN_IF_ERROR(run_window(*reference, window, other));
      rows->compare_with(other.get());
    }
    RETURN_IF_ERROR(run_window(model, window, rows));
    report.nll_sum += rows->nll();
    report.scored += window.num_scored();
    report.tokens += static_cast<int64_t>(window.ids.size());
    divergences.insert(divergences.end(), rows->divergences().begin(), rows->divergences().end());
    same_top1 += rows->same_top1();
  }
  report.seconds = static_cast<double>(steady_clock().now_ns() - start_ns) / 1e9;
  if (reference != nullptr && !divergences.empty()) {
    report.kl = KlDivergence{
        .mean = mean(divergences),
        .p99 = percentile(divergences, 0.99),
        .max = *std::ranges::max_element(divergences),
        .same_top1 = static_cast<double>(same_top1) / static_cast<double>(divergences.size())};
  }
  return report;
}

}  // namespace quern
