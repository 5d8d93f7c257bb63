#include <cstdio>

#include "base/memory.h"
#include "cli/commands.h"
#include "cli/output.h"
#include "cli/run.h"

namespace quern {

namespace {

constexpr std::string_view kPrompt = "Tell me a story about a brave little fox.";
// A seed whose story is a good one; any other works too.
constexpr int64_t kSeed = 7;
constexpr int64_t kMaxTokens = 400;

Result<int> run_demo(const Arguments& arguments) {
  std::fprintf(stderr,
               "The demo model is tiny and was trained for this project: it tells short "
               "stories, nothing else.\n> %s\n",
               std::string(kPrompt).c_str());
  return run_one(
      arguments.with_positional({"demo"}),
      [](bool, Json fields) {
        fields["messages"] = chat_messages(std::nullopt, std::string(kPrompt));
        if (!fields.contains("max_tokens")) fields["max_tokens"] = kMaxTokens;
        if (!fields.contains("seed")) fields["seed"] = kSeed;
        return fields;
      },
      Footer::kSpeedAndMemory);
}

}  // namespace

const Command kDemoCommand = {
    {.name = "demo",
     .arguments = "",
     .summary = "a story from the model inside quern, then speed and memory",
     .load_flags = true,
     .request_flags = true,
     .flags = {}},
    run_demo};

}  // namespace quern
