#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "llm/llm.h"
#include "server/service.h"

namespace quern {

/// The HTTP server: listens at once, answers with a model once it has one.
///
///   the loop's thread: sockets, routes, streams      task threads: parsing, templates, tokens
///   the caller of serve(): the engine, step by step
class Server final : private HttpHandler {
 public:
  /// Listens and answers from here on, on a thread of its own.
  static Result<std::unique_ptr<Server>> listen(ServerOptions options);
  /// Ends at once what is still open.
  ~Server() override;

  /// For the executor that will serve: what happens when, while somebody profiles.
  Trace& trace() { return service_.profile.trace; }
  /// "http://127.0.0.1:8000"
  std::string url() const;

  /// Answers with this model until `stopping` says so, on the calling thread; `ready` is called
  /// with the model's name in the API when requests are taken. Then it drains: takes no more, lets
  /// what runs end for at most `drain_timeout_ms`, and breaks off the rest with an error that says
  /// why.
  void serve(const Model& model, Llm& llm, const std::function<bool()>& stopping,
             const std::function<void(const std::string& id)>& ready, int64_t drain_timeout_ms);

 private:
  explicit Server(ServerOptions options);

  std::optional<HttpResponse> on_head(const HttpHead& head) override;
  void on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) override;
  HttpResponse on_bad_request(int status, std::string_view why) override;

  /// The tenant of a request's key; nothing where there is none or a wrong one.
  std::optional<uint32_t> tenant_of(const HttpHead& head) const;
  void beat();
  /// What `work` gives on the loop's thread.
  template <typename Work>
  auto on_loop(Work work);

  Service service_;
  std::unique_ptr<HttpServer> http_;
  std::string url_;
  std::thread thread_;
};

}  // namespace quern
