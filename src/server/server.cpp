#include "server/server.h"

#include <algorithm>
#include <ctime>
#include <future>

#include "base/cat.h"
#include "base/clock.h"
#include "net/url.h"
#include "server/answer.h"
#include "server/api_error.h"
#include "server/routes.h"

namespace quern {

namespace {

constexpr int64_t kCloseMs = 2'000;  // for connections to end once there is nothing more to say
constexpr int64_t kBeatMs = 250;  // how often the loop looks after silent streams and its own lag

/// Whether two keys are equal, in a time that depends on the length of `given` alone.
bool equal_keys(std::string_view key, std::string_view given) {
  unsigned difference = static_cast<unsigned>(key.size() ^ given.size());
  for (size_t i = 0; i < given.size(); ++i) {
    const char expected = key.empty() ? '\0' : key[i % key.size()];
    difference |= static_cast<unsigned char>(expected ^ given[i]);
  }
  return difference == 0;
}

/// The key that a request carries; empty where it has none.
std::string_view key_of(const HttpHead& head) {
  constexpr std::string_view kBearer = "bearer ";  // schemes know no case (RFC 9110, 11.1)
  if (const std::string* const header = head.header("authorization")) {
    const std::string_view text = *header;
    const bool is_bearer =
        text.size() >= kBearer.size() &&
        std::equal(kBearer.begin(), kBearer.end(), text.begin(), [](char lower, char given) {
          return lower == (given >= 'A' && given <= 'Z' ? given - 'A' + 'a' : given);
        });
    if (is_bearer) return text.substr(kBearer.size());
  }
  const std::string* const header = head.header("x-api-key");
  return header == nullptr ? std::string_view() : *header;
}

/// The methods of a path, for the Allow header.
std::string methods_of(std::string_view path) {
  std::string methods;
  for (const std::string_view method : {"GET", "POST"}) {
    if (find_route(path, method) != nullptr) methods += cat(methods.empty() ? "" : ", ", method);
  }
  return methods;
}

}  // namespace

Server::Server(ServerOptions options) : service_(std::move(options)) {}

Result<std::unique_ptr<Server>> Server::listen(ServerOptions options) {
  std::unique_ptr<Server> server(new Server(std::move(options)));
  Service& service = server->service_;
  ASSIGN_OR_RETURN(server->http_, HttpServer::listen(service.loop, service.options.http, *server));
  const HttpServerOptions& http = service.options.http;
  server->url_ = Url{.tls = !http.certificate_file.empty(),
                     .host = http.host,
                     .port = server->http_->port(),
                     .path = ""}
                     .text();
  service.num_connections = [raw = server.get()] {
    return raw->http_ == nullptr ? 0 : raw->http_->num_connections();
  };
  server->beat();
  server->thread_ = std::thread([raw = server.get()] { raw->service_.loop.run(); });
  return server;
}

Server::~Server() {
  service_.loop.stop();
  if (thread_.joinable()) thread_.join();
  http_.reset();
}

std::string Server::url() const { return url_; }

template <typename Work>
auto Server::on_loop(Work work) {
  std::packaged_task<decltype(work())()> task(std::move(work));
  auto answer = task.get_future();
  service_.loop.post([&task] { task(); });
  return answer.get();
}

void Server::serve(const Model& model, Llm& llm, const std::function<bool()>& stopping,
                   const std::function<void(const std::string& id)>& ready,
                   int64_t drain_timeout_ms) {
  Engine& engine = llm.engine();
  llm.set_listener(&service_.outbox);
  on_loop([&] {
    service_.served.emplace(model, llm);
    ServedModel& served = *service_.served;
    const std::string& name = service_.options.served_model_name;
    served.id = name.empty() ? model.files.location.name : name;
    served.created = static_cast<int64_t>(std::time(nullptr));
    service_.metrics.set_model(served.id, kKvBlockTokens, llm.plan().shape.kv_blocks.front());
    service_.phase = Service::Phase::kReady;
  });
  ready(service_.served->id);
  constexpr int64_t kLookNs = 20'000'000;  // for the word to stop
  while (!stopping()) {
    service_.run_engine_calls();
    if (!engine.step()) engine.wait_for_work(kLookNs);
  }

  // Probes are answered until the end: that is how a cluster hears that it drains.
  service_.phase = Service::Phase::kDraining;
  const int64_t deadline_ns = steady_clock().now_ns() + drain_timeout_ms * 1'000'000;
  const auto is_over = [&] { return service_.answers.empty(); };
  const Error cut_short{.code = ErrorCode::kOverloaded,
                        .message = "the server is stopping; the answer was cut short",
                        .what = "draining"};
  bool cut = false;
  while (!on_loop(is_over)) {
    if (steady_clock().now_ns() > deadline_ns) {
      if (cut) break;  // the errors have had a while to go out
      on_loop([&] {
        const auto open = service_.answers;
        for (const auto& [number, answer] : open) answer->fail(cut_short);
      });
      cut = true;
    }
    service_.run_engine_calls();
    if (!engine.step()) engine.wait_for_work(cut ? 10 * kLookNs : kLookNs);
  }
  engine.run_until_idle();
  on_loop([&] { http_->stop_accepting(); });
  // What was written last has to go out.
  const int64_t close_ns = steady_clock().now_ns() + kCloseMs * 1'000'000;
  while (on_loop([&] { return http_->num_connections() > 0; }) &&
         steady_clock().now_ns() < close_ns) {
    engine.wait_for_work(kLookNs);
  }
  // From here on nobody asks for the model, which its owner may take away.
  on_loop([&] { http_.reset(); });
  service_.tasks.stop();
  engine.run_until_idle();
  llm.set_listener(nullptr);
}

void Server::beat() {
  const int64_t due_ns = steady_clock().now_ns() + kBeatMs * 1'000'000;
  service_.loop.at(due_ns, [this, due_ns] {
    const int64_t now_ns = steady_clock().now_ns();
    service_.metrics.on_loop_lag(now_ns - due_ns);
    const auto open = service_.answers;
    for (const auto& [number, answer] : open) answer->keep_alive(now_ns);
    beat();
  });
}

std::optional<uint32_t> Server::tenant_of(const HttpHead& head) const {
  const std::vector<std::string>& keys = service_.options.api_keys;
  if (keys.empty()) return 0;
  const std::string_view given = key_of(head);
  std::optional<uint32_t> tenant;
  for (size_t i = 0; i < keys.size(); ++i) {
    if (equal_keys(keys[i], given)) tenant = static_cast<uint32_t>(i);  // all are looked at
  }
  return tenant;
}

std::optional<HttpResponse> Server::on_head(const HttpHead& head) {
  auto refusal = [&]() -> std::optional<HttpResponse> {
    const Route* const any = find_route(head.path);
    const bool is_open = any != nullptr && any->access == Route::Access::kOpen;
    if (!is_open && !tenant_of(head)) {
      HttpResponse response = api_error(401, "a valid key is needed: \"Authorization: Bearer KEY\"",
                                        {}, "invalid_api_key");
      response.headers.emplace_back("www-authenticate", "Bearer");
      return response;
    }
    if (any == nullptr) {
      return api_error(404,
                       cat("there is no route ", dump_json(Json(head.path)),
                           "; /openapi.json lists those there are"),
                       {}, "route_not_found");
    }
    const Route* const route = find_route(head.path, head.method);
    if (route == nullptr) {
      HttpResponse response = api_error(
          405,
          cat(any->path, " takes ", methods_of(head.path), ", not ", dump_json(Json(head.method))),
          {}, "method_not_allowed");
      response.headers.emplace_back("allow", methods_of(head.path));
      return response;
    }
    const std::string* const length = head.header("content-length");
    if (route->method == "GET" &&
        ((length != nullptr && *length != "0") || head.header("transfer-encoding") != nullptr)) {
      return api_error(413, cat(route->path, " takes no body"), {}, "body_not_taken");
    }
    if (route->needs == Route::Needs::kRoom) return service_.find_refusal();
    if (route->needs == Route::Needs::kModel && service_.phase == Service::Phase::kLoading) {
      return busy_response("Loading model", "loading", 1);
    }
    return std::nullopt;
  }();
  if (refusal) {
    Call call;
    call.head = head;
    call.id = new_request_id();
    refusal->headers.emplace_back("x-request-id", call.id);
    const std::optional<uint32_t> tenant = tenant_of(head);
    service_.log_access(call, refusal->status, {{"tenant", tenant ? Json(*tenant) : Json()}});
  }
  return refusal;
}

void Server::on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) {
  const Route* const route = find_route(head.path, head.method);
  Call call{.head = std::move(head),
            .body = std::move(body),
            .reply = std::move(reply),
            .id = new_request_id(),
            .tenant = 0,
            .received_ns = steady_clock().now_ns()};
  call.tenant = tenant_of(call.head).value_or(0);
  route->handle(service_, std::move(call));
}

HttpResponse Server::on_bad_request(int status, std::string_view why) {
  service_.metrics.on_http("other", "other", status);
  return status == 503 ? busy_response(why, "busy", 1) : api_error(status, why);
}

}  // namespace quern
