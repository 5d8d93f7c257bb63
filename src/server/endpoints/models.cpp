#include "base/cat.h"
#include "server/api_error.h"
#include "server/endpoints.h"
#include "server/routes.h"

namespace quern {

namespace {

Json model_json(const ServedModel& served) {
  const RunPlan& plan = served.llm.plan();
  return {
      {"id", served.id},
      {"object", "model"},
      {"created", served.created},
      {"owned_by", "quern"},
      {"max_model_len", plan.shape.max_model_len},
      {"architecture",
       {{"input_modalities", Json::array({"text"})}, {"output_modalities", Json::array({"text"})}}},
      {"meta",
       {{"n_ctx_train", served.model.config.max_position_embeddings},
        {"n_params", served.model.num_parameters()},
        {"size", plan.need.weights},
        {"n_vocab", plan.program.vocab_size},
        {"n_embd", served.model.config.hidden_size}}}};
}

}  // namespace

void models(Service& service, Call call) {
  // A model is listed once it can answer: probes of clusters rely on it.
  Json list = Json::array();
  if (service.phase != Service::Phase::kLoading) list.push_back(model_json(*service.served));
  service.respond(call, json_response(200, {{"object", "list"}, {"data", std::move(list)}}));
}

void model(Service& service, Call call) {
  const Route& route = *find_route(call.head.path, call.head.method);
  const std::string id = path_id(route, call.head.path);
  const bool is_there = service.phase != Service::Phase::kLoading && service.served->id == id;
  service.respond(
      call, is_there
                ? json_response(200, model_json(*service.served))
                : api_error(404, cat("the model ", dump_json(Json(id)), " does not exist here"),
                            "model", "model_not_found"));
}

void props(Service& service, Call call) {
  const ServedModel& served = *service.served;
  const RunPlan& plan = served.llm.plan();
  service.respond(
      call,
      json_response(200, {{"model_path", served.id},
                          {"total_slots", plan.shape.max_num_seqs},
                          {"n_ctx", plan.shape.max_model_len},
                          {"modalities", {{"vision", false}, {"audio", false}}},
                          {"has_chat_template", served.prompter.has_template()},
                          {"default_generation_settings", {{"n_ctx", plan.shape.max_model_len}}}}));
}

}  // namespace quern
