#include "cli/output.h"

#include <csignal>
#include <cstdio>

namespace quern {

namespace {

// The globals: a signal handler can reach nothing else.
volatile std::sig_atomic_t pending_signal = 0;  // NOLINT
volatile std::sig_atomic_t is_noted = 0;        // NOLINT

void on_signal(int signal) {
  // Also the second one does not wait.
  if (is_noted == 0 || pending_signal != 0) std::_Exit(128 + signal);
  pending_signal = signal;
}

Json or_null(const std::optional<std::string>& text) { return text ? Json(*text) : Json(); }

}  // namespace

void print_text(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stdout);
  std::fflush(stdout);
}

void print_seed(uint64_t seed) {
  std::fprintf(stderr, "seed: %llu\n", static_cast<unsigned long long>(seed));
}

void print_json_line(const Json& object) { print_text(dump_json(object) + "\n"); }

void print_json(Json object) {
  Json whole{{"schema", 1}};
  whole.update(object);
  print_json_line(whole);
}

Json error_json(const Error& error) {
  return {{"code", error_code_name(error.code)}, {"message", error.message},
          {"what", or_null(error.what)},         {"found", or_null(error.found)},
          {"wanted", or_null(error.wanted)},     {"try", or_null(error.try_next)}};
}

InterruptsNoted::InterruptsNoted() { is_noted = 1; }
InterruptsNoted::~InterruptsNoted() { is_noted = 0; }

bool interrupted() { return pending_signal != 0; }
void forget_interrupt() { pending_signal = 0; }
int interrupt_status() { return 128 + pending_signal; }

void catch_interrupts() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
  std::signal(SIGPIPE, SIG_IGN);  // NOLINT: a closed pipe is a write error, not a death
  std::signal(SIGXFSZ, SIG_IGN);  // NOLINT: so is a file that may grow no further
}

}  // namespace quern
