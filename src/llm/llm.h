#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine/engine.h"
#include "llm/run_plan.h"

namespace quern {

/// A model ready to answer: its plan, its executor, its engine. One thread at a time.
class Llm final : private EventSink {
 public:
  /// Plans, refuses what does not fit (kDoesNotFit), loads the weights. `model` must outlive this.
  static Result<std::unique_ptr<Llm>> load(const Model& model, const RunOptions& options);

  const RunPlan& plan() const { return plan_; }
  Engine& engine() { return *engine_; }
  const Executor& executor() const { return *executor_; }
  int64_t load_ns() const { return load_ns_; }

  /// Where events go besides; nullptr for nowhere. It must outlive its use.
  void set_listener(EventSink* listener) { listener_ = listener; }

  /// The answer to one request, or to several that run together, in their order. Fails without
  /// running any if one is refused.
  Result<RequestResult> answer(Request request);
  Result<std::vector<RequestResult>> answer_all(std::vector<Request> requests);

 private:
  Llm() = default;
  void on_prompt_progress(const PromptProgress& progress) override;
  void on_token(const TokenEvent& event) override;
  void on_finished(RequestResult result) override;

  RunPlan plan_;
  std::unique_ptr<Executor> executor_;
  std::unique_ptr<Engine> engine_;
  int64_t load_ns_ = 0;
  EventSink* listener_ = nullptr;
  std::vector<RequestResult>* collected_ = nullptr;
};

}  // namespace quern
