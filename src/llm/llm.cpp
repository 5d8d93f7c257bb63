#include "llm/llm.h"

#include <algorithm>
#include <random>
#include <utility>

#include "base/clock.h"

namespace quern {

Result<std::unique_ptr<Llm>> Llm::load(const Model& model, const RunOptions& options) {
  const int64_t start_ns = steady_clock().now_ns();
  ASSIGN_OR_RETURN(RunPlan plan, plan_run(model, options));
  if (!plan.fits()) return plan.does_not_fit();
  ASSIGN_OR_RETURN(const ExecutorKind* kind, find_executor(options.executor));

  std::unique_ptr<Llm> llm(new Llm);
  ASSIGN_OR_RETURN(llm->executor_,
                   kind->load(plan.program, plan.types, *model.weights, plan.shape, options.exec));
  EngineOptions engine = plan.engine;
  engine.eos_token_ids = model.generation.eos_token_ids;
  engine.seed = options.seed;
  ASSIGN_OR_RETURN(llm->engine_, Engine::make(*llm->executor_, std::move(engine), *llm));
  llm->plan_ = std::move(plan);
  llm->load_ns_ = steady_clock().now_ns() - start_ns;
  return llm;
}

Result<RequestResult> Llm::answer(Request request) {
  std::vector<Request> requests;
  requests.push_back(std::move(request));
  ASSIGN_OR_RETURN(std::vector<RequestResult> results, answer_all(std::move(requests)));
  return std::move(results.front());
}

Result<std::vector<RequestResult>> Llm::answer_all(std::vector<Request> requests) {
  std::vector<RequestResult> results;
  results.reserve(requests.size());
  collected_ = &results;
  std::vector<RequestId> order;
  std::optional<Error> refusal;
  for (Request& request : requests) {
    Result<RequestId> id = engine_->submit(std::move(request));
    if (!id) {
      refusal = std::move(id).error();
      break;
    }
    order.push_back(*id);
  }
  if (refusal) {
    for (const RequestId id : order) engine_->cancel(id);
  }
  engine_->run_until_idle();
  collected_ = nullptr;
  if (refusal) return *std::move(refusal);
  std::ranges::sort(results, {}, &RequestResult::id);  // ids count up in the order of submission
  return results;
}

void Llm::on_prompt_progress(const PromptProgress& progress) {
  if (listener_ != nullptr) listener_->on_prompt_progress(progress);
}

void Llm::on_token(const TokenEvent& event) {
  if (listener_ != nullptr) listener_->on_token(event);
}

void Llm::on_finished(RequestResult result) {
  if (collected_ != nullptr) {
    collected_->push_back(std::move(result));
  } else if (listener_ != nullptr) {
    listener_->on_finished(std::move(result));
  }
}

}  // namespace quern
