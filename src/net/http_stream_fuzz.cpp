// A client's bytes mean the same however the network cuts them: what the handler sees and what the
// client gets back.

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "base/cat.h"
#include "base/ensure.h"
#include "net/connection_set.h"
#include "net/event_loop_impl.h"

namespace quern {
namespace {

/// Answers by the path of the request, and writes down all that it is asked.
class Witness final : public HttpHandler {
 public:
  std::optional<HttpResponse> on_head(const HttpHead& head) override {
    std::string text = cat("head ", head.method, " ", head.path, " ? ", head.query);
    for (const auto& [name, value] : head.headers) text += cat("\n", name, ": ", value);
    heard.push_back(std::move(text));
    if (head.path.starts_with("/locked")) return HttpResponse{.status = 401, .body = "no"};
    return std::nullopt;
  }
  void on_request(HttpHead head, std::string body, std::shared_ptr<HttpReply> reply) override {
    heard.push_back(cat("request ", head.path, " ", body));
    if (head.path.starts_with("/late")) {
      reply->on_gone([this] { heard.emplace_back("gone"); });
      late.push_back(std::move(reply));
    } else if (head.path.starts_with("/stream")) {
      reply->begin(200, {});
      reply->write("half");
      reply->write(body);
      if (head.query != "cut") reply->finish();
    } else {
      reply->send({.body = body});
    }
  }
  HttpResponse on_bad_request(int status, std::string_view why) override {
    heard.push_back(cat("bad ", status, " ", why));
    return {.status = status, .body = std::string(why)};
  }

  std::vector<std::string> heard;
  std::vector<std::shared_ptr<HttpReply>> late;  // answered once all has been sent
};

struct Exchange {
  std::vector<std::string> heard;
  std::string answer;
  bool operator==(const Exchange&) const = default;
};

/// The server's connections without what listens: clients come as one end of a pair of sockets.
/// No clock runs, so nothing is ever over time.
class Connections {
 public:
  /// Sends the text in pieces of these sizes, in turns, each read before the next.
  Exchange exchange(std::string_view text, std::string_view sizes) {
    int ends[2];
    ENSURE(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends) == 0, "no sockets");
    client_ = ends[0];
    Tcp::socket server(loop_.impl().context);
    server.assign(Tcp::v4(), ends[1]);
    set_->add(std::move(server));
    work();
    for (size_t i = 0; !text.empty(); ++i) {
      const size_t size =
          sizes.empty() ? text.size() : static_cast<uint8_t>(sizes[i % sizes.size()]);
      const std::string_view piece = text.substr(0, size);
      (void)!::send(client_, piece.data(), piece.size(), MSG_NOSIGNAL);
      text.remove_prefix(piece.size());
      work();
    }
    for (const auto& reply : std::exchange(witness_.late, {})) reply->send({.body = "late"});
    work();
    ::shutdown(client_, SHUT_WR);
    work();
    ENSURE(set_->open.empty(), "a connection stays open though its client has ended it");
    ENSURE(set_->body_bytes == 0, "bytes of bodies are still counted");
    ::close(client_);
    return {std::exchange(witness_.heard, {}), std::exchange(answer_, {})};
  }

 private:
  /// Until nothing more happens by itself.
  void work() {
    asio::io_context& context = loop_.impl().context;
    do {
      context.restart();
    } while (context.poll() > 0);
    char bytes[4096];
    ssize_t size = 0;
    while ((size = ::recv(client_, bytes, sizeof bytes, 0)) > 0) {
      answer_.append(bytes, static_cast<size_t>(size));
    }
  }

  EventLoop loop_;
  Witness witness_;
  std::shared_ptr<ConnectionSet> set_ =
      std::make_shared<ConnectionSet>(loop_,
                                      HttpServerOptions{.most_header_bytes = 256,
                                                        .most_headers = 8,
                                                        .most_body_bytes = 64,
                                                        .most_body_bytes_at_once = 48},
                                      witness_);
  int client_ = -1;
  std::string answer_;
};

std::string text_of(const Exchange& exchange) {
  std::string text;
  for (const std::string& what : exchange.heard) text += cat(what, "\n");
  return cat(text, "-- answer\n", exchange.answer);
}

}  // namespace
}  // namespace quern

/// The first four bytes say how the rest is cut.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static quern::Connections connections;
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const std::string_view sizes = input.substr(0, 4);
  if (sizes.find_first_not_of('\0') == std::string_view::npos) return 0;
  const std::string_view text = input.substr(sizes.size());
  const quern::Exchange whole = connections.exchange(text, {});
  const quern::Exchange cut = connections.exchange(text, sizes);
  ENSURE(cut == whole, "what happens depends on how the bytes were cut; whole:\n",
         quern::text_of(whole), "\n-- cut:\n", quern::text_of(cut));
  return 0;
}
