#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "measure/load/load_record.h"
#include "net/http_client.h"
#include "net/url.h"

namespace quern {

/// Small requests beside a load, which show what others feel of it. They go out from the load's
/// start to its last end, at equal gaps, whatever the answers and whatever bound the load has.
struct Probes {
  double rate = 0;  // a second; 0: none
  /// The next one; its time of arrival means nothing.
  std::function<LoadRequest(int64_t index)> request = {};
};

struct LoadOptions {
  Url url;
  std::string path = "/v1/completions";
  std::string api_key = {};
  bool stream = true;
  /// Closed loop: `max_concurrency` users, each of whom sends when its last answer has ended.
  /// Open loop: requests go out at their arrival_ns, but at most so many at once (0: no bound);
  /// what has to wait for that waits here, and how long is known.
  bool closed_loop = false;
  int64_t max_concurrency = 0;
  int64_t duration_ns = 0;  // after which nothing new goes out; 0: no bound
  bool keep_text = true;
  HttpClientOptions client = {};
  Probes probes = {};
  /// Called on the sending thread after every request with how many have ended.
  std::function<void(int64_t ended)> progress = {};
};

struct LoadResult {
  std::vector<LoadRecord> records;      // ascending by index
  std::vector<LoadRecord> probes = {};  // the same; in no figure of the load
  int64_t num_not_sent = 0;             // left out because the duration had passed
  bool stream = true;
  int64_t started_ns = 0, ended_ns = 0;
  int64_t unix_offset_ns = 0;  // what the time of day was more than steady_clock() at the start
  double sender_cpu_s = 0;     // of the thread that sends, receives and takes the times
  double reader_cpu_s = 0;     // of the one that reads what came
  double steal_share = 0;      // of the machine's time, taken by others beside this system
};

/// Sends all requests to a server and hears their answers, on the calling thread; another one reads
/// the JSON, so that no answer's time is late by the reading of others. What single requests meet
/// is in their records; an error is what makes the whole senseless: no such host, fewer sockets
/// than the load needs.
Result<LoadResult> run_load(std::span<const LoadRequest> requests, const LoadOptions& options);

}  // namespace quern
