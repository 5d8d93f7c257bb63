// quern_simulate: runs random histories of the engine in virtual time and says what came of them,
// as one JSON object. Exit 0: every invariant held (or each planted bug was found), 8: not.

#include <chrono>
#include <cstdio>
#include <string>

#include "base/hash.h"
#include "base/json.h"
#include "base/numbers.h"
#include "engine/simulation/history.h"
#include "engine/simulation/planted_search.h"

namespace quern {
namespace {

struct Arguments {
  int64_t histories = 20'000;
  uint64_t seed = 1;
  std::string planted;
};

bool read_arguments(int argc, char** argv, Arguments& arguments) {
  for (int i = 1; i + 1 < argc; i += 2) {
    const std::string_view name = argv[i], value = argv[i + 1];
    const auto number = parse_integer<int64_t>(value);
    if (name == "--histories" && number && *number > 0) {
      arguments.histories = *number;
    } else if (name == "--seed" && number && *number >= 0) {
      arguments.seed = static_cast<uint64_t>(*number);
    } else if (name == "--planted") {
      arguments.planted = value;
    } else {
      return false;
    }
  }
  return argc % 2 == 1;
}

/// "00c0ffee00c0ffee"
std::string hex(uint64_t value) {
  std::string text(16, '0');
  for (size_t i = 16; i > 0; --i, value >>= 4) text[i - 1] = "0123456789abcdef"[value & 15];
  return text;
}

int find_planted(const Arguments& arguments) {
  Json found = Json::array();
  bool all = true;
  for (const NamedBug& one : planted_bugs()) {
    if (arguments.planted != "all" && arguments.planted != one.name) continue;
    const PlantedSearch search = search_planted(one.bug, arguments.seed, arguments.histories);
    found.push_back({{"bug", one.name},
                     {"found", search.found},
                     {"histories", search.histories},
                     {"how", search.how}});
    all = all && search.found;
  }
  std::printf("%s\n", dump_json({{"schema", 1}, {"planted", found}}).c_str());
  return all && !found.empty() ? 0 : 8;
}

int simulate(const Arguments& arguments) {
  const auto start = std::chrono::steady_clock::now();
  RareEvents events;
  int64_t steps = 0, requests = 0, tokens = 0, violations = 0;
  uint64_t trace = 0;
  Json first_violation = nullptr;
  for (int64_t i = 0; i < arguments.histories; ++i) {
    const uint64_t seed = arguments.seed + static_cast<uint64_t>(i);
    const HistoryOutcome outcome = run_history(seed);
    events.add(outcome.events);
    steps += outcome.steps;
    requests += outcome.requests;
    tokens += outcome.tokens;
    trace = xxh64(std::as_bytes(std::span(&outcome.trace_hash, 1)), trace);
    if (!outcome.violation) continue;
    if (violations++ == 0) first_violation = {{"seed", seed}, {"what", *outcome.violation}};
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  Json counts = Json::object();
  for (const auto& [name, count] : events.named()) counts[std::string(name)] = count;
  std::printf(
      "%s\n",
      dump_json({{"schema", 1},
                 {"histories", arguments.histories},
                 {"seed", arguments.seed},
                 {"violations", violations},
                 {"first_violation", first_violation},
                 {"requests", requests},
                 {"steps", steps},
                 {"tokens", tokens},
                 {"trace_hash", hex(trace)},
                 {"events", counts},
                 {"seconds", seconds},
                 {"histories_per_second", static_cast<double>(arguments.histories) / seconds}})
          .c_str());
  return violations == 0 ? 0 : 8;
}

}  // namespace
}  // namespace quern

int main(int argc, char** argv) {
  quern::Arguments arguments;
  if (!quern::read_arguments(argc, argv, arguments)) {
    std::fprintf(stderr,
                 "error: usage: quern_simulate [--histories N] [--seed S] [--planted NAME|all]\n");
    return 2;
  }
  return arguments.planted.empty() ? quern::simulate(arguments) : quern::find_planted(arguments);
}
