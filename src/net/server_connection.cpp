#include "net/server_connection.h"

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/cat.h"
#include "base/clock.h"
#include "net/answer_framing.h"
#include "net/request_head.h"

namespace quern {

namespace {

using Secure = asio::ssl::stream<Tcp::socket>;

constexpr int64_t kLingerMs = 2'000;  // for a client to take a refusal that it did not wait for
constexpr size_t kReadBytes = 16 << 10;
constexpr size_t kMostFramingBytes = 64 << 10;  // what may stand around the chunks of a body
constexpr int64_t kNever = INT64_MAX;

int64_t now_ns() { return steady_clock().now_ns(); }
int64_t in_ms(int64_t ms) { return now_ns() + ms * 1'000'000; }

/// Over a plain socket or TLS. Of reads one at a time is under way, and of writes one.
template <typename Stream>
class Connection final : public ServerConnection,
                         public std::enable_shared_from_this<Connection<Stream>> {
 public:
  Connection(std::shared_ptr<ConnectionSet> set, Tcp::socket socket)
      : set_(std::move(set)), stream_(make_stream(*set_, std::move(socket))) {
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

  void refuse(int status, std::string_view why) override {
    state_ = State::kAnswer;
    framing_.keep_alive = false;
    send(set_->handler.on_bad_request(status, why));
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

  void close_if_idle() override {
    if (state_ == State::kIdle) close();
  }

  void close() override {
    if (closed_) return;
    closed_ = true;
    SystemError ignored;
    tcp().shutdown(Tcp::socket::shutdown_both, ignored);
    tcp().close(ignored);
    release_body();
    const auto gone = std::exchange(gone_, nullptr);
    set_->remove(self());
    if (gone) gone();
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

  /// The handler's side of one answer: without effect once another is the connection's.
  class Reply final : public HttpReply {
   public:
    Reply(std::weak_ptr<Connection> connection, uint64_t answer)
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
      return live == nullptr ? 0 : live->out_.size() + live->sending_.size() - live->sent_;
    }
    void on_gone(std::function<void()> call) override {
      if (const auto live = open()) live->gone_ = std::move(call);
    }

   private:
    std::shared_ptr<Connection> open() const {
      auto live = connection_.lock();
      return live != nullptr && live->is_open(answer_) ? live : nullptr;
    }

    std::weak_ptr<Connection> connection_;
    uint64_t answer_;
  };

  static Stream make_stream(ConnectionSet& set, Tcp::socket socket) {
    if constexpr (kTls) {
      return Stream(std::move(socket), set.tls);
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
  const HttpServerOptions& options() const { return set_->options; }
  std::shared_ptr<Connection> self() { return this->shared_from_this(); }

  // -- Reading -----------------------------------------------------------------------------------

  void await_request() {
    state_ = State::kIdle;
    parser_.reset();
    body_ = {};
    if (!set_->accepting && buffer_.size() == 0) return close();
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
      if (self->state_ == State::kAnswer && !self->is_blank()) self->framing_.keep_alive = false;
      self->buffer_.clear();
      self->read_some();
    });
  }

  void read_head() {
    state_ = State::kHead;
    timed_out_ = false;
    framing_ = {};
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
    HttpHead head = to_head(message, remote_, begun_ns_);
    framing_ = {.is_http_11 = message.version() == 11,
                .keep_alive = message.keep_alive(),
                .without_body = head.method == "HEAD"};
    if (const auto fault = find_fault(head, framing_.is_http_11, options().most_headers)) {
      return refuse(fault->status, fault->why);
    }
    if (std::optional<HttpResponse> refusal = set_->handler.on_head(head)) {
      state_ = State::kAnswer;
      // A body that was announced is not read, so nothing can follow it.
      if (!parser_->is_done()) framing_.keep_alive = false;
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
      self->set_->body_bytes += size;
      self->counted_bytes_ += size;
      if (error && error != http::error::need_buffer) return self->fail_to_read(error);
      if (self->set_->body_bytes > self->options().most_body_bytes_at_once) {
        return self->refuse(503, "too many request bodies are being read at once; try again later");
      }
      self->read_body();
    });
  }

  void release_body() {
    set_->body_bytes -= std::exchange(counted_bytes_, 0);
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
    auto reply = std::make_shared<Reply>(this->weak_from_this(), answer_);
    set_->handler.on_request(std::move(head_), std::move(body_), std::move(reply));
    if (closed_ || state_ != State::kAnswer || ended_) return;
    if (buffer_.size() > 0) {
      framing_.keep_alive = framing_.keep_alive && is_blank();
      buffer_.clear();
    }
    read_some();
  }

  // -- Writing -----------------------------------------------------------------------------------

  /// Whether it is the answer number `answer` that is being given.
  bool is_open(uint64_t answer) const {
    return !closed_ && state_ == State::kAnswer && answer == answer_ && !ended_;
  }

  void send(HttpResponse response) {
    framing_.whole(out_, std::move(response));
    end_answer();
  }

  void begin(int status, HttpHeaders headers) {
    framing_.begin(out_, status, std::move(headers));
    flush();
  }

  void write(std::string_view bytes) {
    framing_.piece(out_, bytes);
    flush();
  }

  void finish() {
    framing_.end(out_);
    end_answer();
  }

  void cut() {
    framing_.keep_alive = false;
    end_answer();
  }

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
    if (framing_.keep_alive) {
      if (!reading_) return await_request();
      // The read that watched for the client's leaving is the one that hears its next request.
      state_ = State::kIdle;
      if (!set_->accepting) return close();
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

  std::shared_ptr<ConnectionSet> set_;
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

  AnswerFraming framing_;
  uint64_t answer_ = 0;
  bool ended_ = false;  // all of the answer is in out_
  std::string out_, sending_;
  size_t sent_ = 0;  // of sending_
  std::function<void()> gone_;
};

}  // namespace

std::shared_ptr<ServerConnection> make_connection(std::shared_ptr<ConnectionSet> set,
                                                  Tcp::socket socket) {
  if (set->uses_tls()) {
    return std::make_shared<Connection<Secure>>(std::move(set), std::move(socket));
  }
  return std::make_shared<Connection<Tcp::socket>>(std::move(set), std::move(socket));
}

}  // namespace quern
