#pragma once

#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "measure/load/load_record.h"
#include "measure/load/openai_answer.h"

namespace quern {

/// An exchange that is over, with what is still to be read of it.
struct RawAnswer {
  LoadRecord record;
  TimedBody body;
  std::string problem;  // of the connection; empty: the answer is whole
  bool was_left = false;
};

/// Makes records of answers on a thread of its own.
class AnswerReader {
 public:
  AnswerReader(bool stream, bool keep_text);
  ~AnswerReader();
  AnswerReader(const AnswerReader&) = delete;
  AnswerReader& operator=(const AnswerReader&) = delete;

  void take(RawAnswer answer);
  /// Waits until all are read. The thread's share of a processor goes to `cpu_s`.
  std::vector<LoadRecord> finish(double& cpu_s);

 private:
  void run();
  LoadRecord read(RawAnswer answer) const;

  const bool stream_, keep_text_;
  std::mutex mutex_;
  std::condition_variable has_come_;
  std::vector<RawAnswer> waiting_;
  bool is_last_ = false;
  std::vector<LoadRecord> records_;
  double cpu_s_ = 0;
  std::thread thread_;
};

/// User and system time of the calling thread.
double thread_cpu_s();

}  // namespace quern
