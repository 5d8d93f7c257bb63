#include "measure/load/answer_reader.h"

#include <sys/resource.h>
#include <unistd.h>

#include "base/cat.h"

namespace quern {

namespace {

using Outcome = LoadRecord::Outcome;

constexpr int kTooManyRequests = 429, kUnavailable = 503;

}  // namespace

double thread_cpu_s() {
  rusage usage{};
  ::getrusage(RUSAGE_THREAD, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) * 1e-6;
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

AnswerReader::AnswerReader(bool stream, bool keep_text)
    : stream_(stream), keep_text_(keep_text), thread_([this] { run(); }) {}

AnswerReader::~AnswerReader() {
  double ignored;
  if (thread_.joinable()) finish(ignored);
}

void AnswerReader::take(RawAnswer answer) {
  const std::lock_guard lock(mutex_);
  waiting_.push_back(std::move(answer));
  has_come_.notify_one();
}

std::vector<LoadRecord> AnswerReader::finish(double& cpu_s) {
  {
    const std::lock_guard lock(mutex_);
    is_last_ = true;
    has_come_.notify_one();
  }
  thread_.join();
  cpu_s = cpu_s_;
  return std::move(records_);
}

void AnswerReader::run() {
  // Of this thread alone: the one that takes the times goes first where both want a processor.
  [[maybe_unused]] const int priority = ::nice(5);
  while (true) {
    std::vector<RawAnswer> answers;
    {
      std::unique_lock lock(mutex_);
      has_come_.wait(lock, [&] { return is_last_ || !waiting_.empty(); });
      if (waiting_.empty()) break;
      answers.swap(waiting_);
    }
    for (RawAnswer& answer : answers) records_.push_back(read(std::move(answer)));
  }
  cpu_s_ = thread_cpu_s();
}

LoadRecord AnswerReader::read(RawAnswer answer) const {
  LoadRecord record = std::move(answer.record);
  const bool has_answer = record.status == 200;
  Result<void> content;
  if (has_answer) {
    content =
        stream_ ? read_openai_stream(answer.body, record) : read_openai_answer(answer.body, record);
  }
  // What a server says before it ends the connection tells more than that it did.
  const bool says_why = !content && content.error().code == ErrorCode::kSystem;
  if (answer.was_left) {
    record.outcome = Outcome::kCancelled;
  } else if (says_why) {
    record.error = content.error().message;
  } else if (!answer.problem.empty()) {
    record.error = std::move(answer.problem);
  } else if (record.status == kTooManyRequests || record.status == kUnavailable) {
    record.outcome = Outcome::kRefused;
    record.error = cat("status ", record.status, ": ", error_of_body(answer.body.bytes));
  } else if (!has_answer) {
    record.error = cat("status ", record.status, ": ", error_of_body(answer.body.bytes));
  } else if (!content) {
    record.error = content.error().message;
  } else {
    record.outcome = Outcome::kCompleted;
  }
  if (!record.usage_given) {
    record.completion_tokens = static_cast<int64_t>(record.event_ns.size());
  }
  if (!keep_text_) record.text = {};
  return record;
}

}  // namespace quern
