#include "server/api_error.h"
#include "server/api_request.h"
#include "server/endpoints.h"
#include "server/routes.h"

namespace quern {

namespace {

std::string_view status_name(ApiField::Status status) {
  switch (status) {
    case ApiField::Status::kUsed:
      return "used";
    case ApiField::Status::kWithoutEffect:
      return "accepted without effect";
    case ApiField::Status::kRefused:
      return "refused";
  }
  return "";
}

/// The body of a generating route, field by field.
Json body_schema(ApiRoute route) {
  Json properties = Json::object();
  for (const ApiField& field : api_fields()) {
    if ((field.routes & route) == 0) continue;
    Json schema = Json::object();
    if (field.status != ApiField::Status::kRefused) {
      schema = field.its_shape().json_schema();
      schema["description"] = field.its_shape().wanted();
    }
    schema["x-status"] = status_name(field.status);
    properties[std::string(field.name)] = std::move(schema);
  }
  return {{"type", "object"},
          {"properties", std::move(properties)},
          {"required", Json::array({route == kChatRoute ? "messages" : "prompt"})},
          {"additionalProperties", false}};
}

}  // namespace

void openapi(Service& service, Call call) {
  Json paths = Json::object();
  for (const Route& route : routes()) {
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(c - 'A' + 'a');
    Json operation = {{"summary", route.summary},
                      {"responses", {{"200", {{"description", "done"}}}}}};
    if (route.access == Route::Access::kOpen) operation["security"] = Json::array();
    if (route.handle == chat_completions || route.handle == completions) {
      const ApiRoute which = route.handle == chat_completions ? kChatRoute : kCompletionsRoute;
      operation["requestBody"] = {
          {"required", true},
          {"content", {{"application/json", {{"schema", body_schema(which)}}}}}};
    }
    if (route.path.find("{id}") != std::string_view::npos) {
      operation["parameters"] = Json::array(
          {{{"name", "id"}, {"in", "path"}, {"required", true}, {"schema", {{"type", "string"}}}}});
    }
    paths[std::string(route.path)][method] = std::move(operation);
  }
  service.respond(
      call,
      json_response(
          200, {{"openapi", "3.1.0"},
                {"info", {{"title", "quern"}, {"version", service.options.version}}},
                {"paths", std::move(paths)},
                {"components",
                 {{"securitySchemes", {{"bearer", {{"type", "http"}, {"scheme", "bearer"}}}}}}},
                {"security", Json::array({{{"bearer", Json::array()}}})}}));
}

}  // namespace quern
