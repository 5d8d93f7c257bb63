#include "net/server_connection.h"

#include <algorithm>
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
      state_ = State::kHandshake;
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
    if (state_ == State::kIdle) return leave();
    if (timed_out_ || (state_ != State::kHead && state_ != State::kBody)) return close();
    // The read that is under way ends with an error, and that says it; if it had ended already, the
    // next look closes.
    timed_out_ = true;
    read_deadline_ = in_ms(kLingerMs);
    SystemError ignored;
    tcp().cancel(ignored);
  }

  void close_if_idle() override {
    if (state_ == State::kIdle) leave();
    if (state_ == State::kHandshake) close();
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
    kHandshake,  // TLS is being agreed on
    kIdle,       // nothing of the next request has come
    kHead,       // its head is being read
    kBody,       // its body is
    kAnswer,     // it is being answered
    kGoodbye,    // TLS is being ended
    kLinger,     // the last answer has gone out: what still comes is thrown away
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
    read_deadline_ = in_ms(options().idle_timeout_ms);
    await_first_byte();
  }

  /// Line ends before a request are no part of it (RFC 9112, 2.2).
  void await_first_byte() {
    buffer_.consume(std::min(buffered().find_first_not_of("\r\n"), buffer_.size()));
    if (buffer_.size() > 0) return begin_head();
    if (!set_->accepting) return leave();
    buffer_ = beast::flat_buffer(most_buffered());  // an idle connection keeps no memory
    read_some();
  }

  size_t most_buffered() const {
    return options().most_header_bytes + kMostFramingBytes + kReadBytes;
  }
  /// What has been read ahead.
  std::string_view buffered() const {
    const auto bytes = buffer_.data();
    return {static_cast<const char*>(bytes.data()), bytes.size()};
  }
  bool is_blank() const { return buffered().find_first_not_of("\r\n") == std::string_view::npos; }

  /// Bytes of whatever comes next; while an answer is under way, to see the client leave.
  void read_some() {
    if (reading_) return;
    reading_ = true;
    const size_t most = state_ == State::kBody ? kReadBytes : 2048;
    stream_.async_read_some(buffer_.prepare(most), [self = self()](SystemError error, size_t size) {
      self->reading_ = false;
      if (self->closed_) return;
      if (error && (self->state_ == State::kHead || self->state_ == State::kBody)) {
        return self->fail_to_read(error);
      }
      // Over TLS the client's goodbye, which ours answers.
      if (error == asio::error::eof && self->state_ == State::kGoodbye) return;
      if (error == asio::error::eof && self->state_ == State::kIdle) return self->leave();
      if (error) return self->close();
      if (self->state_ == State::kGoodbye) return;
      if (self->state_ == State::kLinger) return self->discard();
      self->buffer_.commit(size);
      if (self->state_ == State::kIdle) return self->await_first_byte();
      if (self->state_ == State::kHead) return self->read_head();
      if (self->state_ == State::kBody) return self->read_body();
      // A request that does not wait for the answer before it is not read, and its connection ends
      // with that answer: so the client's leaving shows whatever it has sent.
      // One that comes just after its last byte waits for the loop to have seen that go out.
      if (self->ended_) return;
      if (!self->is_blank()) self->framing_.keep_alive = false;
      self->buffer_.clear();
      self->read_some();
    });
  }

  void begin_head() {
    state_ = State::kHead;
    timed_out_ = false;
    framing_ = {};
    begun_ns_ = now_ns();
    read_deadline_ = in_ms(options().header_timeout_ms);
    parser_.emplace();
    parser_->header_limit(options().most_header_bytes);
    parser_->body_limit(options().most_body_bytes);
    searched_ = parsed_ = 0;
    read_head();
  }

  /// A head is judged in steps: its first byte by itself, so that a greeting of TLS need not wait
  /// for a line's end, its first line when that has come, the rest when the rest has. Left alone
  /// with each read, the parser would see mistakes sooner or later, and count its limit anew, by
  /// how the network has cut the bytes.
  void read_head() {
    const size_t most = options().most_header_bytes;
    const std::string_view text = buffered().substr(0, most);
    SystemError error;
    if (text.front() <= ' ' || text.front() > '~') error = http::error::bad_method;
    if (parsed_ == 0 && !error) {
      const size_t end = text.find('\n', searched_);
      if (end != text.npos) error = parse_head(text.substr(0, end + 1));
    }
    if (parsed_ > 0 && !error) {
      const size_t end = text.find("\r\n\r\n", std::max<size_t>(searched_, 3) - 3);
      if (end != text.npos) error = parse_head(text.substr(0, end + 4));
    }
    if (!error && parser_->is_header_done()) {
      buffer_.consume(parsed_);
      return take_head();
    }
    if (!error && text.size() == most) error = http::error::header_limit;
    if (error) return fail_to_read(error);
    searched_ = text.size();
    read_some();
  }

  /// The part of these bytes that has not been parsed before; the parser takes all of whole lines,
  /// and of none that ends too soon.
  SystemError parse_head(std::string_view text) {
    const std::string_view lines = text.substr(std::exchange(parsed_, text.size()));
    SystemError error;
    const size_t taken = parser_->put(asio::buffer(lines), error);
    if (error && error != http::error::need_more) return error;
    return taken == lines.size() ? SystemError() : http::error::bad_line_ending;
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
    timed_out_ = false;
    read_deadline_ = in_ms(options().body_timeout_ms);
    chunk_.resize(kReadBytes);
    if (head_.header("expect") != nullptr) {
      out_ += "HTTP/1.1 100 Continue\r\n\r\n";
      flush();
    }
    read_body();
  }

  void read_body() {
    // Of a body in chunks that is not whole at least "0\r\n\r\n" is to come, and with less than
    // that the parser fails an assertion of its own.
    const size_t least = parser_->chunked() ? 5 : 1;
    while (!parser_->is_done()) {
      if (buffer_.size() < least) return read_some();
      auto& place = parser_->get().body();
      place.data = chunk_.data();
      place.size = chunk_.size();
      SystemError error;
      const std::string_view text = buffered().substr(0, kMostFramingBytes);
      buffer_.consume(parser_->put(asio::buffer(text), error));
      const size_t size = chunk_.size() - place.size;
      body_.append(chunk_.data(), size);
      set_->body_bytes += size;
      counted_bytes_ += size;
      if (set_->body_bytes > options().most_body_bytes_at_once) {
        return refuse(503, "too many request bodies are being read at once; try again later");
      }
      if (error == http::error::need_more) {
        if (text.size() == kMostFramingBytes) return fail_to_read(http::error::buffer_overflow);
        return read_some();
      }
      if (error && error != http::error::need_buffer) return fail_to_read(error);
    }
    handle();
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
        error.category() == http::make_error_code(http::error::bad_method).category();
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
    cut_ = true;
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
      if (!set_->accepting) return leave();
      read_deadline_ = in_ms(options().idle_timeout_ms);
      return;
    }
    release_body();
    if constexpr (kTls) {
      if (!cut_) return say_goodbye();
    }
    linger();
  }

  /// Of a connection on which nothing is under way.
  void leave() {
    if constexpr (kTls) {
      say_goodbye();
    } else {
      close();
    }
  }

  /// Over TLS: that nothing has been cut off. Whoever does not answer it is over time soon.
  void say_goodbye() {
    state_ = State::kGoodbye;
    read_deadline_ = in_ms(kLingerMs);
    stream_.async_shutdown([self = self()](SystemError) {
      if (!self->closed_) self->linger();
    });
  }

  /// Closing with bytes unread would take the answer away from the client again (RFC 9112, 9.6).
  void linger() {
    state_ = State::kLinger;
    read_deadline_ = in_ms(kLingerMs);
    SystemError ignored;
    tcp().shutdown(Tcp::socket::shutdown_send, ignored);
    chunk_.resize(kReadBytes);
    if (!reading_) discard();
  }

  /// Until the client has closed.
  void discard() {
    tcp().async_read_some(asio::buffer(chunk_), [self = self()](SystemError error, size_t) {
      if (self->closed_) return;
      if (error) return self->close();
      self->discard();
    });
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
  size_t searched_ = 0, parsed_ = 0;  // bytes of the head, for its end and by the parser

  AnswerFraming framing_;
  uint64_t answer_ = 0;
  bool ended_ = false;  // all of the answer is in out_
  bool cut_ = false;    // and that is not the whole of it
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
