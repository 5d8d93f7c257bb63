#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/arguments.h"
#include "measure/load/arrivals.h"
#include "measure/load/load_report.h"
#include "measure/load/load_run.h"
#include "measure/load/openai_request.h"
#include "measure/load/prompts.h"

namespace quern {

/// What `bench serve` was asked for, its flags checked against each other.
struct ServeBench {
  std::string backend;  // openai or openai-chat
  std::string model;    // empty: the server's first
  LoadOptions load;     // all but the duration's requests
  OpenAiRequestOptions request;
  const Dataset* dataset = nullptr;
  PromptOptions prompts;
  std::string tokenizer_name;  // empty: none
  std::string arrivals_name;   // poisson, gamma, constant, trace; all at once; users
  std::string ramp_name;       // linear or exponential; empty: none
  Arrivals arrivals;
  double probe_rate = 0;  // of small requests beside the load, a second; 0: none
  bool profile = false;
  double cancel_rate = 0;
  int64_t num_warmups = 1;
  int64_t ready_timeout_ms = 60'000;
  LoadReportOptions report;
  std::vector<std::pair<std::string, std::string>> metadata;
  bool save_result = false, save_detailed = false;
  std::string result_dir = ".", result_filename;  // empty: by backend, rate, model and time
  uint64_t seed = 0;

  bool is_all_at_once() const { return arrivals.rate <= 0 && arrivals_name != "trace"; }
};

Result<ServeBench> read_serve_bench(const Arguments& arguments);

}  // namespace quern
