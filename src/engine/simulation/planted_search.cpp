#include "engine/simulation/planted_search.h"

#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cstdio>

#include "base/cat.h"
#include "base/ensure.h"
#include "base/numbers.h"
#include "engine/simulation/history.h"

namespace quern {

namespace {

constexpr NamedBug kBugs[] = {
    {"completion-after-cancel", PlantedBug::kCompletionAfterCancel},
    {"double-free-on-cancel-in-prefill", PlantedBug::kDoubleFreeOnCancelInPrefill},
    {"evict-held-block", PlantedBug::kEvictHeldBlock},
    {"find-block-one-token-early", PlantedBug::kFindBlockOneTokenEarly},
    {"finish-sent-twice", PlantedBug::kFinishSentTwice},
    {"generated-tokens-not-charged", PlantedBug::kGeneratedTokensNotCharged},
    {"hash-without-parent", PlantedBug::kHashWithoutParent},
    {"hash-without-salt", PlantedBug::kHashWithoutSalt},
    {"hit-leaves-nothing-to-compute", PlantedBug::kHitLeavesNothingToCompute},
    {"no-lift-after-idle", PlantedBug::kNoLiftAfterIdle},
    {"no-reference-on-share", PlantedBug::kNoReferenceOnShare},
    {"no-release-on-preempt", PlantedBug::kNoReleaseOnPreempt},
    {"priority-forgotten-across-tenants", PlantedBug::kPriorityForgottenAcrossTenants},
    {"priority-lost-on-preempt", PlantedBug::kPriorityLostOnPreempt},
    {"queue-order-after-preempt", PlantedBug::kQueueOrderAfterPreempt},
    {"reservation-kept-on-cancel", PlantedBug::kReservationKeptOnCancel},
    {"reset-forgets-running-ones", PlantedBug::kResetForgetsRunningOnes},
    {"salt-share-not-kept", PlantedBug::kSaltShareNotKept},
    {"seed-shared", PlantedBug::kSeedShared},
    {"time-taken-off-is-lost", PlantedBug::kTimeTakenOffIsLost},
    {"watcher-misses-first-token", PlantedBug::kWatcherMissesFirstToken},
    {"window-frees-one-block-early", PlantedBug::kWindowFreesOneBlockEarly},
};

/// The child: one line before each history, so that the parent knows how far it came, and what was
/// found on standard error, where an ENSURE writes as well.
[[noreturn]] void search_here(PlantedBug bug, uint64_t first_seed, int64_t max_histories) {
  for (int64_t i = 0; i < max_histories; ++i) {
    std::fprintf(stderr, "#%lld\n", static_cast<long long>(i + 1));
    const HistoryOutcome outcome = run_history(first_seed + static_cast<uint64_t>(i), bug);
    if (outcome.violation) {
      std::fprintf(stderr, "%s\n", outcome.violation->c_str());
      ::_exit(1);
    }
  }
  ::_exit(0);
}

}  // namespace

std::span<const NamedBug> planted_bugs() { return kBugs; }

PlantedSearch search_planted(PlantedBug bug, uint64_t first_seed, int64_t max_histories) {
  std::array<int, 2> ends{};
  ENSURE(::pipe(ends.data()) == 0, "no pipe");
  std::fflush(nullptr);
  const pid_t child = ::fork();
  ENSURE(child >= 0, "no process");
  if (child == 0) {
    ::dup2(ends[1], STDERR_FILENO);
    ::close(ends[0]);
    search_here(bug, first_seed, max_histories);
  }
  ::close(ends[1]);
  std::string said;
  std::array<char, 4096> piece;
  for (ssize_t got; (got = ::read(ends[0], piece.data(), piece.size())) > 0;) {
    said.append(piece.data(), static_cast<size_t>(got));
  }
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);

  PlantedSearch search{.found = !(WIFEXITED(status) && WEXITSTATUS(status) == 0), .how = {}};
  const size_t last = said.rfind("#");
  const size_t end_of_line = last == std::string::npos ? last : said.find('\n', last);
  if (end_of_line != std::string::npos) {
    const auto count =
        parse_integer<int64_t>(std::string_view(said).substr(last + 1, end_of_line - last - 1));
    search.histories = count.value_or(0);
    search.how = said.substr(end_of_line + 1);
    if (const size_t stop = search.how.find('\n'); stop != std::string::npos) {
      search.how.resize(stop);
    }
  }
  return search;
}

}  // namespace quern
