#include "net/http_server.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <unordered_set>

#include "base/cat.h"
#include "base/clock.h"
#include "base/ensure.h"
#include "base/log.h"
#include "net/event_loop_impl.h"

namespace quern {

namespace {

using Secure = asio::ssl::stream<Tcp::socket>;

constexpr int64_t kSweepMs = 100;     // how often deadlines are looked at
constexpr int64_t kLingerMs = 2'000;  // for a client to take a refusal that it did not wait for
constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMostFramingBytes = 64 << 10;  // what may stand around the chunks of a body
constexpr int64_t kNever = INT64_MAX;

int64_t now_ns() { return steady_clock().now_ns(); }
int64_t in_ms(int64_t ms) { return now_ns() + ms * 1'000'000; }

std::string lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

/// The head of an answer as it goes over the wire.
std::string head_text(int status, const HttpHeaders& headers) {
  std::string text = cat(
      "HTTP/1.1 ", status, " ",
      std::string_view(http::obsolete_reason(http::int_to_status(static_cast<unsigned>(status)))),
      "\r\n");
  for (const auto& [name, value] : headers) {
    ENSURE(value.find_first_of("\r\n") == std::string::npos, "header ", name, " has two lines");
    text += cat(name, ": ", value, "\r\n");
  }
  return text + "\r\n";
}

/// What is wrong with the head of a request, and the status to say it with.
struct BadHead {
  int status = 400;
  std::string why;
};

/// The checks that a parser does not make and two servers in a row may make differently.
std::optional<BadHead> find_fault(const HttpHead& head, bool is_http_11, size_t most_headers) {
  if (head.headers.size() > most_headers) {
    return BadHead{431, cat("the request has ", head.headers.size(), " headers, at most ",
                            most_headers, " are taken")};
  }
  if (!head.path.starts_with('/')) {
    return BadHead{400, "the request's target is not a path that begins with \"/\""};
  }
  const auto count = [&](std::string_view name) {
    return std::ranges::count(head.headers, name, &HttpHeaders::value_type::first);
  };
  if (count("host") > 1 || (is_http_11 && count("host") == 0)) {
    return BadHead{400, "the request must have exactly one Host header"};
  }
  if (count("content-length") > 1) {
    return BadHead{400, "the request has several Content-Length headers"};
  }
  if (count("transfer-encoding") > 1) {
    return BadHead{400, "the request has several Transfer-Encoding headers"};
  }
  if (const std::string* length = head.header("content-length");
      length != nullptr && length->find_first_not_of("0123456789") != std::string::npos) {
    return BadHead{400, "the request's Content-Length is not one number"};
  }
  const std::string* coding = head.header("transfer-encoding");
  if (coding != nullptr && head.header("content-length") != nullptr) {
    return BadHead{400, "the request has both Content-Length and Transfer-Encoding"};
  }
  if (coding != nullptr && (lower(*coding) != "chunked" || !is_http_11)) {
    return BadHead{400, "the only Transfer-Encoding taken is \"chunked\", in HTTP/1.1"};
  }
  if (const std::string* content = head.header("content-encoding");
      content != nullptr && lower(*content) != "identity") {
    return BadHead{415, "a body with a Content-Encoding is not taken; send it as it is"};
  }
  if (const std::string* expect = head.header("expect");
      expect != nullptr && lower(*expect) != "100-continue") {
    return BadHead{417, "the only expectation that can be met is 100-continue"};
  }
  return std::nullopt;
}

}  // namespace

const std::string* HttpHead::header(std::string_view name) const {
  const auto found = std::ranges::find(headers, name, &HttpHeaders::value_type::first);
  return found == headers.end() ? nullptr : &found->second;
}

/// One client's connection, as the server and the replies see it.
class ServerConnection : public std::enable_shared_from_this<ServerConnection> {
 public:
  virtual ~ServerConnection() = default;
  virtual void start() = 0;
  virtual void check_deadlines(int64_t now) = 0;
  virtual void close() = 0;
  virtual void close_if_idle() = 0;

  // Of the answer number `answer`.
  virtual bool is_open(uint64_t answer) const = 0;
  virtual void send(HttpResponse response) = 0;
  virtual void begin(int status, HttpHeaders headers) = 0;
  virtual void write(std::string_view bytes) = 0;
  virtual void finish() = 0;
  virtual void cut() = 0;
  virtual uint64_t unsent_bytes() const = 0;
  virtual void on_gone(std::function<void()> call) = 0;
};

struct HttpServer::Impl : std::enable_shared_from_this<HttpServer::Impl> {
  Impl(EventLoop& its_loop, HttpServerOptions its_options, HttpHandler& its_handler)
      : loop(its_loop),
        options(std::move(its_options)),
        handler(its_handler),
        acceptor(loop.impl().context),
        sweep(loop.impl().context) {}

  Result<void> open();
  void accept();
  void sweep_soon();
  void remove(const std::shared_ptr<ServerConnection>& connection) {
    connections.erase(connection);
    if (!accepting && connections.empty()) sweep.cancel();
  }
  void close_all();

  EventLoop& loop;
  HttpServerOptions options;
  HttpHandler& handler;
  asio::ssl::context tls{asio::ssl::context::tls_server};
  Tcp::acceptor acceptor;
  asio::steady_timer sweep;
  std::unordered_set<std::shared_ptr<ServerConnection>> connections;
  uint64_t body_bytes = 0;  // of requests that are being read
  bool accepting = true;
};

namespace {

/// The handler's side of one answer.
class Reply final : public HttpReply {
 public:
  Reply(std::weak_ptr<ServerConnection> connection, uint64_t answer)
      : connection_(std::move(connection)), answer_(answer) {}
  ~Reply() override { cut(); }

  void send(HttpResponse response) override {
    if (const auto live = open()) live->send(std::move(response));
  }
  void begin(int status, HttpHeaders headers) override {
    if (const auto live = open()) live->begin(status, std::move(headers));
  }
  void write(std::string_view bytes) override {
    if (const auto live = open()) live->write(bytes);
  }
  void finish() override {
    if (const auto live = open()) live->finish();
  }
  void cut() override {
    if (const auto live = open()) live->cut();
  }
  uint64_t unsent_bytes() const override {
    const auto live = open();
    return live == nullptr ? 0 : live->unsent_bytes();
  }
  void on_gone(std::function<void()> call) override {
    if (const auto live = open()) live->on_gone(std::move(call));
  }

 private:
  std::shared_ptr<ServerConnection> open() const {
    auto live = connection_.lock();
    return live != nullptr && live->is_open(answer_) ? live : nullptr;
  }

  std::weak_ptr<ServerConnection> connection_;
  uint64_t answer_;
};

/// Over a plain socket or TLS. Of reads one at a time is under way, and of writes one.
template <typename Stream>
class Connection final : public ServerConnection {
 public:
  Connection(std::shared_ptr<HttpServer::Impl> server, Tcp::socket socket)
      : server_(std::move(server)), stream_(make_stream(*server_, std::move(socket))) {
    SystemError error;
    const auto endpoint = tcp().remote_endpoint(error);
    if (!error) remote_ = cat(endpoint.address().to_string(), ":", endpoint.port());
    tcp().set_option(Tcp::no_delay(true), error);
  }

  void start() override {
    if constexpr (kTls) {
      read_deadline_ = in_ms(options().header_timeout_ms);
      stream_.async_handshake(asio::ssl::stream_base::server, [self = self()](SystemError error) {
        if (self->closed_) return;
        if (error) return self->close();
        self->await_request();
      });
    } else {
      await_request();
    }
  }

  void check_deadlines(int64_t now) override {
    if (now >= write_deadline_) return close();
    if (now < read_deadline_) return;
    if (timed_out_ || (state_ != State::kHead && state_ != State::kBody)) return close();
    // The read that is under way ends with an error, and that says it; if it had ended already, the
    // next look closes.
    timed_out_ = true;
    read_deadline_ = in_ms(kLingerMs);
    SystemError ignored;
    tcp().cancel(ignored);
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    SystemError ignored;
    tcp().shutdown(Tcp::socket::shutdown_both, ignored);
    tcp().close(ignored);
    release_body();
    const auto gone = std::exchange(gone_, nullptr);
    server_->remove(self());
    if (gone) gone();
  }

  void close_if_idle() override {
    if (state_ == State::kIdle) close();
  }

  bool is_open(uint64_t answer) const override {
    return !closed_ && state_ == State::kAnswer && answer == answer_ && !ended_;
  }

  void send(HttpResponse response) override {
    response.headers.emplace_back("content-length", cat(response.body.size()));
    if (!keep_alive_) response.headers.emplace_back("connection", "close");
    out_ += head_text(response.status, response.headers);
    if (!without_body_) out_ += response.body;
    end_answer();
  }

  void begin(int status, HttpHeaders headers) override {
    chunked_ = is_http_11_;
    if (chunked_) {
      headers.emplace_back("transfer-encoding", "chunked");
    } else {
      keep_alive_ = false;
    }
    if (!keep_alive_) headers.emplace_back("connection", "close");
    out_ += head_text(status, headers);
    flush();
  }

  void write(std::string_view bytes) override {
    if (bytes.empty() || without_body_) return;
    if (chunked_) {
      std::array<char, 16> size;
      const int length = std::snprintf(size.data(), size.size(), "%zx\r\n", bytes.size());
      out_.append(size.data(), static_cast<size_t>(length));
    }
    out_ += bytes;
    if (chunked_) out_ += "\r\n";
    flush();
  }

  void finish() override {
    if (chunked_ && !without_body_) out_ += "0\r\n\r\n";
    end_answer();
  }

  void cut() override {
    keep_alive_ = false;
    end_answer();
  }

  uint64_t unsent_bytes() const override { return out_.size() + sending_.size() - sent_; }
  void on_gone(std::function<void()> call) override { gone_ = std::move(call); }

  /// Says no without having read anything.
  void refuse(int status, std::string_view why) {
    state_ = State::kAnswer;
    keep_alive_ = false;
    send(server_->handler.on_bad_request(status, why));
  }

 private:
  static constexpr bool kTls = std::is_same_v<Stream, Secure>;
  enum class State {
    kIdle,    // nothing of the next request has come
    kHead,    // its head is being read
    kBody,    // its body is
    kAnswer,  // it is being answered
    kLinger,  // it was refused: what still comes is thrown away
  };

  static Stream make_stream(HttpServer::Impl& server, Tcp::socket socket) {
    if constexpr (kTls) {
      return Stream(std::move(socket), server.tls);
    } else {
      return socket;
    }
  }
  Tcp::socket& tcp() {
    if constexpr (kTls) {
      return stream_.next_layer();
    } else {
      return stream_;
    }
  }
  const HttpServerOptions& options() const { return server_->options; }
  std::shared_ptr<Connection> self() {
    return std::static_pointer_cast<Connection>(shared_from_this());
  }

  // -- Reading -----------------------------------------------------------------------------------

  void await_request() {
    state_ = State::kIdle;
    parser_.reset();
    body_ = {};
    if (!server_->accepting && buffer_.size() == 0) return close();
    read_deadline_ = in_ms(options().idle_timeout_ms);
    if (buffer_.size() > 0) return read_head();
    buffer_ = beast::flat_buffer(most_buffered());  // an idle connection keeps no memory
    read_some();
  }

  size_t most_buffered() const { return options().most_header_bytes + kMostFramingBytes; }
  /// Whether what has been read ahead is nothing but the line ends that some clients add.
  bool is_blank() const {
    const auto bytes = buffer_.data();
    return std::string_view(static_cast<const char*>(bytes.data()), bytes.size())
               .find_first_not_of("\r\n") == std::string_view::npos;
  }

  /// Bytes of whatever comes next; while an answer is under way, to see the client leave.
  void read_some() {
    if (reading_) return;
    reading_ = true;
    stream_.async_read_some(buffer_.prepare(2048), [self = self()](SystemError error, size_t size) {
      self->reading_ = false;
      if (self->closed_) return;
      if (error) return self->close();
      self->buffer_.commit(size);
      if (self->state_ == State::kIdle) return self->read_head();
      // A request that does not wait for the answer before it is not read, and its connection ends
      // with that answer: so the client's leaving shows whatever it has sent.
      // One that comes just after its last byte waits for the loop to have seen that go out.
      if (self->state_ == State::kAnswer && self->ended_) return;
      if (self->state_ == State::kAnswer && !self->is_blank()) self->keep_alive_ = false;
      self->buffer_.clear();
      self->read_some();
    });
  }

  void read_head() {
    state_ = State::kHead;
    timed_out_ = false;
    without_body_ = false;
    is_http_11_ = keep_alive_ = true;
    begun_ns_ = now_ns();
    read_deadline_ = in_ms(options().header_timeout_ms);
    parser_.emplace();
    parser_->header_limit(options().most_header_bytes);
    parser_->body_limit(options().most_body_bytes);
    reading_ = true;
    http::async_read_header(stream_, buffer_, *parser_, [self = self()](SystemError error, size_t) {
      self->reading_ = false;
      if (self->closed_) return;
      if (error) return self->fail_to_read(error);
      self->take_head();
    });
  }

  void take_head() {
    const auto& message = parser_->get();
    HttpHead head{.method = std::string(message.method_string()),
                  .path = std::string(message.target()),
                  .query = {},
                  .headers = {},
                  .remote = remote_,
                  .begun_ns = begun_ns_};
    if (const size_t mark = head.path.find('?'); mark != std::string::npos) {
      head.query = head.path.substr(mark + 1);
      head.path.resize(mark);
    }
    for (const auto& field : message) {
      head.headers.emplace_back(lower(std::string_view(field.name_string())),
                                std::string(field.value()));
    }
    is_http_11_ = message.version() == 11;
    keep_alive_ = message.keep_alive();
    without_body_ = head.method == "HEAD";
    chunked_ = false;
    if (const auto fault = find_fault(head, is_http_11_, options().most_headers)) {
      return refuse(fault->status, fault->why);
    }
    if (std::optional<HttpResponse> refusal = server_->handler.on_head(head)) {
      state_ = State::kAnswer;
      // A body that was announced is not read, so nothing can follow it.
      if (!parser_->is_done()) keep_alive_ = false;
      ended_ = false;
      ++answer_;
      return send(*std::move(refusal));
    }
    head_ = std::move(head);
    if (parser_->is_done()) return handle();
    state_ = State::kBody;
    read_deadline_ = in_ms(options().body_timeout_ms);
    chunk_.resize(kReadBytes);
    if (head_.header("expect") != nullptr) {
      out_ += "HTTP/1.1 100 Continue\r\n\r\n";
      flush();
    }
    read_body();
  }

  void read_body() {
    if (parser_->is_done()) return handle();
    parser_->get().body().data = chunk_.data();
    parser_->get().body().size = chunk_.size();
    reading_ = true;
    http::async_read_some(stream_, buffer_, *parser_, [self = self()](SystemError error, size_t) {
      self->reading_ = false;
      if (self->closed_) return;
      const size_t size = self->chunk_.size() - self->parser_->get().body().size;
      self->body_.append(self->chunk_.data(), size);
      self->server_->body_bytes += size;
      self->counted_bytes_ += size;
      if (error && error != http::error::need_buffer) return self->fail_to_read(error);
      if (self->server_->body_bytes > self->options().most_body_bytes_at_once) {
        return self->refuse(503, "too many request bodies are being read at once; try again later");
      }
      self->read_body();
    });
  }

  void release_body() {
    server_->body_bytes -= std::exchange(counted_bytes_, 0);
    chunk_ = {};
  }

  void fail_to_read(const SystemError& error) {
    if (timed_out_) return refuse(408, "the request did not come in the time it has");
    if (error == http::error::body_limit) {
      return refuse(413, cat("the body is longer than ", options().most_body_bytes, " bytes"));
    }
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return refuse(
          431, cat("the request's head is longer than ", options().most_header_bytes, " bytes"));
    }
    const bool is_malformed =
        error.category() == http::make_error_code(http::error::bad_method).category() &&
        error != http::error::end_of_stream && error != http::error::partial_message;
    if (is_malformed) return refuse(400, cat("this is no HTTP request: ", error.message()));
    close();
  }

  void handle() {
    state_ = State::kAnswer;
    read_deadline_ = kNever;
    release_body();
    parser_.reset();
    ended_ = false;
    ++answer_;
    auto reply = std::make_shared<Reply>(weak_from_this(), answer_);
    server_->handler.on_request(std::move(head_), std::move(body_), std::move(reply));
    if (closed_ || state_ != State::kAnswer || ended_) return;
    if (buffer_.size() > 0) {
      keep_alive_ = keep_alive_ && is_blank();
      buffer_.clear();
    }
    read_some();
  }

  // -- Writing -----------------------------------------------------------------------------------

  void flush() {
    if (closed_ || !sending_.empty()) return;
    if (out_.empty()) {
      if (ended_) after_answer();
      return;
    }
    sending_.swap(out_);
    sent_ = 0;
    send_some();
  }

  /// A reader has the time of the deadline for each piece that the system takes.
  void send_some() {
    write_deadline_ = in_ms(options().send_timeout_ms);
    stream_.async_write_some(asio::buffer(sending_) + sent_,
                             [self = self()](SystemError error, size_t size) {
                               if (self->closed_) return;
                               self->write_deadline_ = kNever;
                               if (error) return self->close();
                               self->sent_ += size;
                               if (self->sent_ < self->sending_.size()) return self->send_some();
                               self->sending_.clear();
                               self->sent_ = 0;
                               self->flush();
                             });
  }

  void end_answer() {
    ended_ = true;
    gone_ = nullptr;
    flush();
  }

  /// The answer has gone out whole.
  void after_answer() {
    if (state_ != State::kAnswer) return;
    sending_ = {};
    out_ = {};
    if (keep_alive_) {
      if (!reading_) return await_request();
      // The read that watched for the client's leaving is the one that hears its next request.
      state_ = State::kIdle;
      if (!server_->accepting) return close();
      read_deadline_ = in_ms(options().idle_timeout_ms);
      return;
    }
    // Closing with bytes unread would take the answer away from the client again (RFC 9112, 9.6).
    state_ = State::kLinger;
    release_body();
    SystemError ignored;
    tcp().shutdown(Tcp::socket::shutdown_send, ignored);
    read_deadline_ = in_ms(kLingerMs);
    buffer_.clear();
    read_some();
  }

  std::shared_ptr<HttpServer::Impl> server_;
  Stream stream_;
  std::string remote_;
  State state_ = State::kIdle;
  bool closed_ = false, reading_ = false, timed_out_ = false;
  int64_t read_deadline_ = kNever, write_deadline_ = kNever;

  beast::flat_buffer buffer_{most_buffered()};
  std::optional<http::request_parser<http::buffer_body>> parser_;
  std::vector<char> chunk_;
  HttpHead head_;
  std::string body_;
  uint64_t counted_bytes_ = 0;
  int64_t begun_ns_ = 0;

  bool is_http_11_ = true, keep_alive_ = true, without_body_ = false;
  uint64_t answer_ = 0;
  bool chunked_ = false;
  bool ended_ = false;  // all of the answer is in out_
  std::string out_, sending_;
  size_t sent_ = 0;  // of sending_
  std::function<void()> gone_;
};

/// Reads the certificate and its key.
Result<void> load_certificate(asio::ssl::context& tls, const HttpServerOptions& options) {
  for (const std::string& file : {options.certificate_file, options.key_file}) {
    std::error_code ignored;
    if (std::filesystem::is_regular_file(file, ignored)) continue;
    return Error{.code = ErrorCode::kNotFound,
                 .message = cat("\"", file,
                                "\": there is no such file; TLS needs a certificate "
                                "and its key in PEM form"),
                 .what = file};
  }
  const auto bad = [](const std::string& file, const SystemError& error) {
    return Error{.code = ErrorCode::kBadFile,
                 .message = cat(file, ": ", error.message(), "; wanted PEM"),
                 .what = file,
                 .found = error.message(),
                 .wanted = "PEM"};
  };
  using Context = asio::ssl::context;
  SystemError error;
  tls.set_options(Context::default_workarounds | Context::no_sslv2 | Context::no_sslv3 |
                  Context::no_tlsv1 | Context::no_tlsv1_1);
  if (tls.use_certificate_chain_file(options.certificate_file, error); error) {
    return bad(options.certificate_file, error);
  }
  if (tls.use_private_key_file(options.key_file, Context::pem, error); error) {
    return bad(options.key_file, error);
  }
  return {};
}

}  // namespace

Result<void> HttpServer::Impl::open() {
  if (!options.certificate_file.empty() || !options.key_file.empty()) {
    RETURN_IF_ERROR(load_certificate(tls, options));
  }
  const auto failed = [&](const SystemError& error) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat("cannot listen on ", options.host, " port ", options.port, ": ",
                                error.message()),
                 .what = cat(options.host, ":", options.port),
                 .found = error.message(),
                 .try_next = "another --port, or --port 0 for a free one"};
  };
  SystemError error;
  Tcp::resolver resolver(loop.impl().context);
  const auto endpoints =
      resolver.resolve(options.host, cat(options.port), Tcp::resolver::passive, error);
  if (error) return failed(error);
  const Tcp::endpoint endpoint = endpoints.begin()->endpoint();
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(Tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(4096, error);
  if (error) return failed(error);
  return {};
}

void HttpServer::Impl::accept() {
  acceptor.async_accept([self = shared_from_this()](SystemError error, Tcp::socket socket) {
    if (!self->accepting) return;
    if (error) {
      // Out of descriptors, mostly: others will leave.
      log_warning(cat("cannot accept a connection: ", error.message()));
      self->loop.at(in_ms(kSweepMs), [self] {
        if (self->accepting) self->accept();
      });
      return;
    }
    const bool is_full =
        static_cast<int64_t>(self->connections.size()) >= self->options.most_connections;
    const auto serve = [&](auto connection) {
      self->connections.insert(connection);
      if (is_full) {
        connection->refuse(503, cat("there are ", self->options.most_connections,
                                    " connections already; try again later"));
      } else {
        connection->start();
      }
    };
    if (!self->options.certificate_file.empty()) {
      // A refusal would need a handshake first.
      if (!is_full) serve(std::make_shared<Connection<Secure>>(self, std::move(socket)));
    } else {
      serve(std::make_shared<Connection<Tcp::socket>>(self, std::move(socket)));
    }
    self->accept();
  });
}

void HttpServer::Impl::sweep_soon() {
  sweep.expires_after(std::chrono::milliseconds(kSweepMs));
  sweep.async_wait([self = shared_from_this()](SystemError error) {
    if (error) return;
    const int64_t now = now_ns();
    // Who is over time leaves the set meanwhile.
    const std::vector<std::shared_ptr<ServerConnection>> all(self->connections.begin(),
                                                             self->connections.end());
    for (const auto& connection : all) connection->check_deadlines(now);
    if (self->accepting || !self->connections.empty()) self->sweep_soon();
  });
}

void HttpServer::Impl::close_all() {
  accepting = false;
  SystemError ignored;
  acceptor.close(ignored);
  sweep.cancel();
  const std::vector<std::shared_ptr<ServerConnection>> all(connections.begin(), connections.end());
  for (const auto& connection : all) connection->close();
}

Result<std::unique_ptr<HttpServer>> HttpServer::listen(EventLoop& loop, HttpServerOptions options,
                                                       HttpHandler& handler) {
  auto impl = std::make_shared<Impl>(loop, std::move(options), handler);
  RETURN_IF_ERROR(impl->open());
  impl->accept();
  impl->sweep_soon();
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

HttpServer::HttpServer(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() { impl_->close_all(); }

uint16_t HttpServer::port() const {
  SystemError ignored;
  return impl_->acceptor.local_endpoint(ignored).port();
}

int64_t HttpServer::num_connections() const {
  return static_cast<int64_t>(impl_->connections.size());
}

void HttpServer::stop_accepting() {
  impl_->accepting = false;
  SystemError ignored;
  impl_->acceptor.close(ignored);
  const std::vector<std::shared_ptr<ServerConnection>> all(impl_->connections.begin(),
                                                           impl_->connections.end());
  for (const auto& connection : all) connection->close_if_idle();
  if (impl_->connections.empty()) impl_->sweep.cancel();
}

}  // namespace quern
