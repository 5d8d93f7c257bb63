#include "net/http_client.h"

#include <array>
#include <chrono>
#include <concepts>
#include <map>

#include "base/cat.h"
#include "base/clock.h"
#include "net/event_loop_impl.h"

namespace quern {

namespace {

using Plain = beast::tcp_stream;
using Secure = beast::ssl_stream<beast::tcp_stream>;

int64_t now_ns() { return steady_clock().now_ns(); }

Error network_error(const Url& url, std::string_view doing, const SystemError& error) {
  return Error{.code = ErrorCode::kSystem,
               .message = cat(url.text(), ": cannot ", doing, ": ", error.message()),
               .what = url.text(),
               .found = error.message()};
}

}  // namespace

/// One connection, with the exchange that it is busy with.
class HttpConnection {
 public:
  virtual ~HttpConnection() = default;
  virtual void start(http::request<http::string_body> request, HttpListener& listener,
                     uint64_t exchange) = 0;
  /// Nobody is called any more.
  virtual void close() = 0;
};

struct HttpClient::Impl {
  Impl(EventLoop& its_loop, Url its_url, HttpClientOptions its_options)
      : loop(its_loop), url(std::move(its_url)), options(its_options) {}

  EventLoop& loop;
  Url url;
  HttpClientOptions options;
  asio::ssl::context tls{asio::ssl::context::tls_client};
  Tcp::resolver resolver{loop.impl().context};
  Tcp::resolver::results_type endpoints;
  uint64_t next_exchange = 1;
  std::map<uint64_t, std::shared_ptr<HttpConnection>> busy;
  std::vector<std::shared_ptr<HttpConnection>> idle;

  std::shared_ptr<HttpConnection> connection();
  /// The connection's own word that its exchange is over.
  void release(uint64_t exchange, bool reusable) {
    const auto found = busy.find(exchange);
    if (found == busy.end()) return;
    if (reusable) idle.push_back(found->second);
    busy.erase(found);
  }
};

namespace {

template <typename Stream>
class Connection final : public HttpConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  explicit Connection(HttpClient::Impl& client) : client_(client), stream_(make_stream(client)) {}

  void start(http::request<http::string_body> request, HttpListener& listener,
             uint64_t exchange) override {
    request_ = std::move(request);
    listener_ = &listener;
    exchange_ = exchange;
    answer_begun_ = false;
    was_used_ = connected_;
    if (connected_) return write();
    resolve();
  }

  void close() override {
    listener_ = nullptr;
    SystemError ignored;
    beast::get_lowest_layer(stream_).socket().close(ignored);
  }

 private:
  static constexpr bool kTls = std::is_same_v<Stream, Secure>;

  static Stream make_stream(HttpClient::Impl& client) {
    if constexpr (kTls) {
      return Stream(client.loop.impl().context, client.tls);
    } else {
      return Stream(client.loop.impl().context);
    }
  }
  Plain& tcp() { return beast::get_lowest_layer(stream_); }
  void limit_time(int64_t ms) { tcp().expires_after(std::chrono::milliseconds(ms)); }

  /// What a step of the exchange goes on with; nothing after close().
  template <typename Next>
  auto then(std::string_view doing, Next next) {
    return [ self = this->shared_from_this(), doing, next ](SystemError error, auto... rest)
      requires std::invocable<const Next&, Connection&, decltype(rest)...>
    {
      if (self->listener_ == nullptr) return;
      if (error) return self->fail(doing, error);
      next(*self, rest...);
    };
  }

  void resolve() {
    if (!client_.endpoints.empty()) return connect();
    client_.resolver.async_resolve(client_.url.host, std::to_string(client_.url.port),
                                   then("find the host", [](Connection& self, auto endpoints) {
                                     self.client_.endpoints = endpoints;
                                     self.connect();
                                   }));
  }

  void connect() {
    limit_time(client_.options.connect_timeout_ms);
    tcp().async_connect(client_.endpoints, then("connect", [](Connection& self, auto) {
                          SystemError ignored;
                          self.tcp().socket().set_option(Tcp::no_delay(true), ignored);
                          self.shake_hands();
                        }));
  }

  void shake_hands() {
    if constexpr (kTls) {
      const std::string& host = client_.url.host;
      SSL_set_tlsext_host_name(stream_.native_handle(), host.c_str());
      if (client_.options.verify_certificate) {
        stream_.set_verify_mode(asio::ssl::verify_peer);
        stream_.set_verify_callback(asio::ssl::host_name_verification(host));
      }
      stream_.async_handshake(asio::ssl::stream_base::client,
                              then("agree on TLS", [](Connection& self) { self.begin(); }));
    } else {
      begin();
    }
  }

  void begin() {
    connected_ = true;
    listener_->on_connected(now_ns());
    if (listener_ != nullptr) write();
  }

  void write() {
    limit_time(client_.options.idle_timeout_ms);
    // The system is handed the bytes here; that it has them is heard only when the loop comes
    // round.
    listener_->on_sent(now_ns());
    if (listener_ == nullptr) return;
    http::async_write(stream_, request_,
                      then("send", [](Connection& self, size_t) { self.read_head(); }));
  }

  void read_head() {
    parser_.emplace();
    parser_->header_limit(static_cast<uint32_t>(client_.options.most_header_bytes));
    parser_->body_limit(boost::none);
    parser_->skip(request_.method() == http::verb::head);
    http::async_read_header(stream_, buffer_, *parser_,
                            then("read the answer", [](Connection& self, size_t) {
                              self.answer_begun_ = true;
                              self.listener_->on_head(self.parser_->get().result_int(), now_ns());
                              if (self.listener_ != nullptr) self.read_body();
                            }));
  }

  void read_body() {
    if (parser_->is_done()) return finish();
    limit_time(client_.options.idle_timeout_ms);
    parser_->get().body().data = chunk_.data();
    parser_->get().body().size = chunk_.size();
    http::async_read_some(
        stream_, buffer_, *parser_, [self = this->shared_from_this()](SystemError error, size_t) {
          if (self->listener_ == nullptr) return;
          const size_t size = self->chunk_.size() - self->parser_->get().body().size;
          if (size > 0) {
            self->listener_->on_body({self->chunk_.data(), size}, now_ns());
            if (self->listener_ == nullptr) return;
          }
          if (error && error != http::error::need_buffer) {
            return self->fail("read the answer", error);
          }
          self->read_body();
        });
  }

  void finish() {
    HttpListener* const listener = std::exchange(listener_, nullptr);
    const bool reusable = parser_->get().keep_alive();
    tcp().expires_never();
    client_.release(exchange_, reusable);
    listener->on_end({}, now_ns());
  }

  void fail(std::string_view doing, const SystemError& error) {
    // A server may close a kept connection just when it is used again: that says nothing of the
    // request, which goes out once more on a new one.
    if (was_used_ && !answer_begun_ && error != beast::error::timeout) {
      was_used_ = connected_ = false;
      buffer_.clear();
      std::destroy_at(&stream_);
      std::construct_at(&stream_, make_stream(client_));
      return resolve();
    }
    HttpListener* const listener = std::exchange(listener_, nullptr);
    client_.release(exchange_, false);
    listener->on_end(network_error(client_.url, doing, error), now_ns());
  }

  HttpClient::Impl& client_;
  Stream stream_;
  bool connected_ = false, was_used_ = false, answer_begun_ = false;
  http::request<http::string_body> request_;
  HttpListener* listener_ = nullptr;
  uint64_t exchange_ = 0;
  beast::flat_buffer buffer_;
  std::optional<http::response_parser<http::buffer_body>> parser_;
  std::array<char, 16384> chunk_;
};

}  // namespace

std::shared_ptr<HttpConnection> HttpClient::Impl::connection() {
  if (!idle.empty()) {
    auto last = std::move(idle.back());
    idle.pop_back();
    return last;
  }
  if (url.tls) return std::make_shared<Connection<Secure>>(*this);
  return std::make_shared<Connection<Plain>>(*this);
}

HttpClient::HttpClient(EventLoop& loop, Url url, HttpClientOptions options)
    : impl_(std::make_unique<Impl>(loop, std::move(url), options)) {
  if (impl_->url.tls && options.verify_certificate) {
    SystemError ignored;  // without the system's roots no certificate is trusted, and that is said
    impl_->tls.set_default_verify_paths(ignored);
  }
}

HttpClient::~HttpClient() {
  for (auto& [exchange, connection] : impl_->busy) connection->close();
  for (auto& connection : impl_->idle) connection->close();
}

Result<void> HttpClient::find_host() {
  SystemError error;
  impl_->endpoints =
      impl_->resolver.resolve(impl_->url.host, std::to_string(impl_->url.port), error);
  if (error) return network_error(impl_->url, "find the host", error);
  return {};
}

uint64_t HttpClient::start(HttpRequest request, HttpListener& listener) {
  http::request<http::string_body> message;
  message.version(11);
  message.method_string(request.method);
  message.target(impl_->url.path + request.path);
  message.set(http::field::host, impl_->url.host_header());
  for (const auto& [name, value] : request.headers) message.set(name, value);
  message.body() = std::move(request.body);
  message.prepare_payload();
  const uint64_t exchange = impl_->next_exchange++;
  const auto connection = impl_->connection();
  impl_->busy.emplace(exchange, connection);
  connection->start(std::move(message), listener, exchange);
  return exchange;
}

void HttpClient::abort(uint64_t exchange) {
  const auto found = impl_->busy.find(exchange);
  if (found == impl_->busy.end()) return;
  found->second->close();
  impl_->busy.erase(found);
}

int64_t HttpClient::num_connections() const {
  return static_cast<int64_t>(impl_->busy.size() + impl_->idle.size());
}

namespace {

class Collector final : public HttpListener {
 public:
  Collector(EventLoop& loop, uint64_t most_bytes) : loop_(loop), most_bytes_(most_bytes) {}
  void on_head(int status, int64_t) override { answer.status = status; }
  void on_body(std::string_view bytes, int64_t) override {
    answer.body +=
        bytes.substr(0, most_bytes_ + 1 - std::min<uint64_t>(answer.body.size(), most_bytes_ + 1));
  }
  void on_end(Result<void> result, int64_t) override {
    outcome = std::move(result);
    loop_.stop();
  }

  HttpAnswer answer;
  Result<void> outcome;

 private:
  EventLoop& loop_;
  uint64_t most_bytes_;
};

}  // namespace

Result<HttpAnswer> fetch_http(const Url& url, HttpRequest request, uint64_t most_bytes,
                              HttpClientOptions options) {
  EventLoop loop;
  HttpClient client(loop, url, options);
  Collector collector(loop, most_bytes);
  client.start(std::move(request), collector);
  loop.run();
  if (!collector.outcome) return std::move(collector.outcome).error();
  if (collector.answer.body.size() > most_bytes) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat(url.text(), ": the answer is longer than ", most_bytes, " bytes"),
                 .what = url.text()};
  }
  return std::move(collector.answer);
}

}  // namespace quern
