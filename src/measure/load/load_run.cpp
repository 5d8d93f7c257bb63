#include "measure/load/load_run.h"

#include <algorithm>
#include <deque>
#include <memory>
#include <unordered_map>

#include "base/cat.h"
#include "base/clock.h"
#include "measure/load/answer_reader.h"
#include "measure/machine.h"
#include "net/descriptor_limit.h"

namespace quern {

namespace {

constexpr size_t kMostBodyBytes = 64 << 20;  // of one answer
constexpr int64_t kSpareDescriptors = 64;    // for what is open beside the connections
constexpr int64_t kProbeDescriptors = 1024;  // for probes that a server lets wait

class Load;

/// One request on its way.
class Exchange final : public HttpListener {
 public:
  Exchange(Load& load, LoadRecord record, int64_t cancel_after)
      : load_(load), cancel_after_(cancel_after) {
    answer_.record = std::move(record);
  }

  void on_connected(int64_t now_ns) override { answer_.record.connected_ns = now_ns; }
  void on_sent(int64_t now_ns) override { answer_.record.sent_ns = now_ns; }
  void on_head(int status, int64_t now_ns) override {
    answer_.record.status = status;
    answer_.record.first_byte_ns = now_ns;
  }
  void on_body(std::string_view bytes, int64_t now_ns) override;
  void on_end(Result<void> outcome, int64_t now_ns) override;

  uint64_t number = 0;  // the client's

 private:
  void leave(int64_t now_ns);

  Load& load_;
  int64_t cancel_after_;
  RawAnswer answer_;
};

/// The whole load.
class Load {
 public:
  Load(std::span<const LoadRequest> requests, const LoadOptions& options)
      : requests_(requests),
        options_(options),
        client_(loop_, options.url, options.client),
        reader_(options.stream, options.keep_text) {}

  Result<LoadResult> run() {
    RETURN_IF_ERROR(client_.find_host());
    RETURN_IF_ERROR(allow_connections());
    const double cpu_before = thread_cpu_s();
    const CpuTimes times_before = cpu_times();
    const int64_t unix_offset_ns = unix_now_ns() - steady_clock().now_ns();
    started_ns_ = steady_clock().now_ns() + kLeadNs;
    if (options_.duration_ns > 0) stop_ns_ = started_ns_ + options_.duration_ns;
    if (options_.closed_loop) {
      loop_.at(started_ns_, [this] {
        for (int64_t i = 0; i < most_connections(); ++i) send_next(started_ns_);
      });
    } else {
      schedule_arrival();
    }
    if (options_.probes.rate > 0) schedule_probe();
    loop_.run();
    LoadResult result{.records = {},
                      .probes = {},
                      .num_not_sent = static_cast<int64_t>(requests_.size()) - num_sent_,
                      .stream = options_.stream,
                      .started_ns = started_ns_,
                      .ended_ns = std::max(ended_ns_, started_ns_),
                      .unix_offset_ns = unix_offset_ns,
                      .sender_cpu_s = thread_cpu_s() - cpu_before,
                      .steal_share = steal_share(times_before, cpu_times())};
    for (LoadRecord& record : reader_.finish(result.reader_cpu_s)) {
      (record.is_probe ? result.probes : result.records).push_back(std::move(record));
    }
    std::ranges::sort(result.records, {}, &LoadRecord::index);
    std::ranges::sort(result.probes, {}, &LoadRecord::index);
    return result;
  }

  HttpClient& client() { return client_; }
  void take(Exchange& exchange, RawAnswer answer);

 private:
  static constexpr int64_t kLeadNs = 20'000'000;  // so that the first one is not late already

  /// How many connections the load opens at once at the most, if that is known before.
  int64_t most_connections() const {
    const auto count = static_cast<int64_t>(requests_.size());
    return options_.max_concurrency > 0 ? std::min(options_.max_concurrency, count) : count;
  }

  Result<void> allow_connections() const {
    const int64_t wanted = most_connections() + kSpareDescriptors;
    const int64_t probes = options_.probes.rate > 0 ? kProbeDescriptors : 0;
    const int64_t allowed = raise_descriptor_limit(wanted + probes);
    // An open loop whose requests do not come all at once rarely has all of them under way.
    const bool all_at_once = options_.closed_loop || options_.max_concurrency > 0 ||
                             requests_.empty() || requests_.back().arrival_ns == 0;
    if (allowed >= wanted || !all_at_once) return {};
    return Error{
        .code = ErrorCode::kSystem,
        .message = cat("the load needs ", most_connections(), " connections at once, but this ",
                       "process may have only ", allowed,
                       " files and sockets open; lower "
                       "--max-concurrency or raise the hard limit (ulimit -Hn)"),
        .what = "open files",
        .found = cat(allowed),
        .wanted = cat(wanted),
        .try_next = "lower --max-concurrency or raise the hard limit (ulimit -Hn)"};
  }

  int64_t arrival_ns(size_t index) const { return started_ns_ + requests_[index].arrival_ns; }

  /// Open loop: waits for the next arrival alone, so that a long load needs few timers.
  void schedule_arrival() {
    if (next_ == requests_.size() || arrival_ns(next_) >= stop_ns_) return;
    loop_.at(arrival_ns(next_), [this] {
      const int64_t now = steady_clock().now_ns();
      while (next_ < requests_.size() && arrival_ns(next_) <= now && arrival_ns(next_) < stop_ns_) {
        const size_t index = next_++;
        if (is_full()) {
          waiting_.push_back(index);
        } else {
          send(index, arrival_ns(index), arrival_ns(index));
        }
      }
      schedule_arrival();
    });
  }
  bool is_full() const {
    return options_.max_concurrency > 0 && num_running_ >= options_.max_concurrency;
  }

  /// Closed loop: a user's next request.
  void send_next(int64_t intended_ns) {
    if (next_ == requests_.size() || intended_ns >= stop_ns_) return;
    send(next_++, intended_ns, intended_ns);
  }

  void send(size_t index, int64_t intended_ns, int64_t released_ns);

  int64_t probe_ns(int64_t index) const {
    return started_ns_ +
           static_cast<int64_t>(static_cast<double>(index + 1) * 1e9 / options_.probes.rate);
  }
  void schedule_probe();

  /// Whether nothing of the load is under way or still to come.
  bool is_over() const {
    const bool all_arrived =
        options_.closed_loop || next_ == requests_.size() || arrival_ns(next_) >= stop_ns_;
    return all_arrived && num_running_ == 0;
  }
  void start(LoadRecord record, const LoadRequest& request);
  /// Sends what was waiting for a request of the load to end.
  void go_on(int64_t end_ns);

  std::span<const LoadRequest> requests_;
  const LoadOptions& options_;
  EventLoop loop_;
  HttpClient client_;
  AnswerReader reader_;
  int64_t started_ns_ = 0, ended_ns_ = 0;
  int64_t stop_ns_ = INT64_MAX;
  size_t next_ = 0;
  std::deque<size_t> waiting_;  // arrived, but as many are under way as may be
  std::unordered_map<Exchange*, std::unique_ptr<Exchange>> exchanges_;
  int64_t num_sent_ = 0, num_running_ = 0;  // of the load
  int64_t num_probes_ = 0, num_probes_running_ = 0;
};

void Exchange::on_body(std::string_view bytes, int64_t now_ns) {
  answer_.body.add(bytes, now_ns);
  if (static_cast<int64_t>(answer_.body.parts.size()) == cancel_after_) {
    answer_.was_left = true;
    leave(now_ns);
  } else if (answer_.body.bytes.size() > kMostBodyBytes) {
    answer_.problem = cat("the answer is longer than ", kMostBodyBytes, " bytes");
    leave(now_ns);
  }
}

void Exchange::leave(int64_t now_ns) {
  load_.client().abort(number);
  answer_.record.end_ns = now_ns;
  load_.take(*this, std::move(answer_));
}

void Exchange::on_end(Result<void> outcome, int64_t now_ns) {
  if (!outcome) answer_.problem = outcome.error().message;
  answer_.record.end_ns = now_ns;
  load_.take(*this, std::move(answer_));
}

void Load::send(size_t index, int64_t intended_ns, int64_t released_ns) {
  ++num_sent_;
  ++num_running_;
  start({.index = static_cast<int64_t>(index),
         .intended_ns = intended_ns,
         .released_ns = released_ns},
        requests_[index]);
}

void Load::schedule_probe() {
  loop_.at(probe_ns(num_probes_), [this] {
    if (is_over()) return;
    const int64_t now = steady_clock().now_ns();
    for (; probe_ns(num_probes_) <= now; ++num_probes_) {
      const int64_t intended_ns = probe_ns(num_probes_);
      ++num_probes_running_;
      start({.index = num_probes_,
             .is_probe = true,
             .intended_ns = intended_ns,
             .released_ns = intended_ns},
            options_.probes.request(num_probes_));
    }
    schedule_probe();
  });
}

void Load::start(LoadRecord record, const LoadRequest& request) {
  record.prompt_tokens = request.prompt_tokens;
  record.max_tokens = request.max_tokens;
  auto owned = std::make_unique<Exchange>(*this, std::move(record), request.cancel_after);
  Exchange* const exchange = owned.get();
  exchanges_.emplace(exchange, std::move(owned));
  HttpRequest message{.method = "POST",
                      .path = options_.path,
                      .headers = {{"content-type", "application/json"},
                                  {"accept", options_.stream ? "text/event-stream" : "*/*"}},
                      .body = request.body};
  if (!options_.api_key.empty()) {
    message.headers.emplace_back("authorization", cat("Bearer ", options_.api_key));
  }
  exchange->number = client_.start(std::move(message), *exchange);
}

void Load::take(Exchange& exchange, RawAnswer answer) {
  const int64_t end_ns = answer.record.end_ns;
  const bool is_probe = answer.record.is_probe;
  --(is_probe ? num_probes_running_ : num_running_);
  reader_.take(std::move(answer));
  // It is in a call of its own: it goes when that is over.
  loop_.post([this, gone = &exchange] { exchanges_.erase(gone); });
  if (!is_probe) go_on(end_ns);
  // The time of the next probe is not waited for.
  if (is_over() && num_probes_running_ == 0) loop_.stop();
}

void Load::go_on(int64_t end_ns) {
  ended_ns_ = std::max(ended_ns_, end_ns);
  if (options_.closed_loop) {
    send_next(end_ns);
  } else if (!waiting_.empty() && end_ns < stop_ns_) {
    const size_t next = waiting_.front();
    waiting_.pop_front();
    send(next, arrival_ns(next), end_ns);
  }
  if (options_.progress) options_.progress(num_sent_ - num_running_);
}

}  // namespace

Result<LoadResult> run_load(std::span<const LoadRequest> requests, const LoadOptions& options) {
  return Load(requests, options).run();
}

}  // namespace quern
