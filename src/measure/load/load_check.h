#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "measure/load/load_run.h"
#include "measure/load/server_ttft.h"
#include "text/tokenizer.h"

namespace quern {

struct LoadCheckOptions {
  bool ignore_eos = false;               // answers were asked to be as long as they may be
  const Tokenizer* tokenizer = nullptr;  // the model's, to count its tokens again
  std::optional<ServerTtft> server_ttft = std::nullopt;  // of what came during the load alone
};

/// One thing that must hold for a run's figures to be worth something.
struct LoadCheck {
  std::string_view name;
  std::optional<double> value;       // nothing: it could not be known
  double bound = 0;                  // what the value may not exceed
  std::string failure = {};          // a sentence, where the check does not hold
  std::string_view definition = {};  // where the name alone does not say it
};

/// Whether the client was the bottleneck, the counts agree, the machine was this system's own.
Result<std::vector<LoadCheck>> check_load(const LoadResult& result,
                                          const LoadCheckOptions& options);

}  // namespace quern
