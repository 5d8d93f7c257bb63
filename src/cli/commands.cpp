#include "cli/commands.h"

#include <array>

namespace quern {

namespace {

constexpr std::array kCommands = {
    &kBenchKernelsCommand, &kBenchModelCommand, &kBenchServeCommand, &kChatCommand,
    &kDemoCommand,         &kDoctorCommand,     &kPerplexityCommand, &kPlanCommand,
    &kQuantizeCommand,     &kRunCommand,        &kServeCommand,      &kShowCommand,
    &kTemplateCommand,     &kTokenizeCommand,   &kTopCommand,
};

}  // namespace

std::span<const Command* const> commands() { return kCommands; }

}  // namespace quern
