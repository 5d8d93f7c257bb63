#include "server/routes.h"

#include <algorithm>

#include "server/endpoints.h"

namespace quern {

namespace {

using enum Route::Access;
using enum Route::Needs;

constexpr Route kRoutes[] = {
    {"POST", "/apply-template", kKey, kRoom, "the text that messages become", apply_template},
    {"POST", "/detokenize", kKey, kRoom, "ids to text", detokenize},
    {"POST", "/flush_cache", kKey, kModel, "forget cached prefixes", reset_prefix_cache},
    {"GET", "/health", kOpen, kNothing, "whether the server can answer", health},
    {"GET", "/livez", kOpen, kNothing, "whether the process is alive", livez},
    {"GET", "/load", kKey, kModel, "how many requests are under way", load},
    {"GET", "/metrics", kKey, kNothing, "Prometheus' text format", metrics_text},
    {"GET", "/openapi.json", kKey, kNothing, "this API, every field of it", openapi},
    {"GET", "/ping", kOpen, kNothing, "as /health", health},
    {"GET", "/props", kKey, kModel, "the model and its limits", props},
    {"GET", "/readyz", kOpen, kNothing, "whether to send requests here", readyz},
    {"POST", "/reset_prefix_cache", kKey, kModel, "forget cached prefixes", reset_prefix_cache},
    {"GET", "/slots", kKey, kModel, "the sequences that run", slots},
    {"POST", "/start_profile", kKey, kModel, "begin to record what happens when", start_profile},
    {"POST", "/stop_profile", kKey, kModel, "end it: a trace for Perfetto", stop_profile},
    {"POST", "/tokenize", kKey, kRoom, "text or messages to ids", tokenize},
    {"POST", "/v1/chat/completions", kKey, kRoom, "an answer to messages", chat_completions},
    {"POST", "/v1/completions", kKey, kRoom, "the continuation of a prompt", completions},
    {"GET", "/v1/models", kKey, kNothing, "the models there are", models},
    {"GET", "/v1/models/{id}", kKey, kNothing, "one of them", model},
    {"GET", "/v1/requests/{id}/account", kKey, kNothing, "where a request's time went", account},
    {"GET", "/version", kKey, kNothing, "the server's version", version},
};

/// A pattern around its "{id}".
struct PathPattern {
  std::string_view before, after;
  bool has_id = false;
};
PathPattern pattern_of(std::string_view path) {
  constexpr std::string_view kId = "{id}";
  const size_t at = path.find(kId);
  if (at == std::string_view::npos) return {path, {}, false};
  return {path.substr(0, at), path.substr(at + kId.size()), true};
}

bool matches(const Route& route, std::string_view path) {
  const PathPattern pattern = pattern_of(route.path);
  if (!pattern.has_id) return path == route.path;
  if (!path.starts_with(pattern.before) || !path.ends_with(pattern.after) ||
      path.size() <= pattern.before.size() + pattern.after.size()) {
    return false;
  }
  // A model's name may hold slashes; what comes after it decides.
  const auto id = path.substr(pattern.before.size(),
                              path.size() - pattern.before.size() - pattern.after.size());
  return pattern.after.empty() || id.find('/') == std::string_view::npos;
}

int hex_value(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

std::span<const Route> routes() { return kRoutes; }

const Route* find_route(std::string_view path) {
  const auto found =
      std::ranges::find_if(kRoutes, [&](const Route& r) { return matches(r, path); });
  return found == std::end(kRoutes) ? nullptr : &*found;
}

const Route* find_route(std::string_view path, std::string_view method) {
  const auto found = std::ranges::find_if(kRoutes, [&](const Route& r) {
    return matches(r, path) && (r.method == method || (r.method == "GET" && method == "HEAD"));
  });
  return found == std::end(kRoutes) ? nullptr : &*found;
}

std::string_view route_name(std::string_view path) {
  const Route* const route = find_route(path);
  return route == nullptr ? "other" : route->path;
}

std::string path_id(const Route& route, std::string_view path) {
  const PathPattern pattern = pattern_of(route.path);
  path.remove_prefix(pattern.before.size());
  path.remove_suffix(pattern.after.size());
  std::string id;
  for (size_t i = 0; i < path.size(); ++i) {
    const bool encoded = path[i] == '%' && i + 2 < path.size() && hex_value(path[i + 1]) >= 0 &&
                         hex_value(path[i + 2]) >= 0;
    if (encoded) {
      id += static_cast<char>(hex_value(path[i + 1]) * 16 + hex_value(path[i + 2]));
      i += 2;
    } else {
      id += path[i];
    }
  }
  return id;
}

}  // namespace quern
