#pragma once

#include "cli/command.h"

namespace quern {

// One file each; commands.cpp lists them.
extern const Command kBenchKernelsCommand;
extern const Command kBenchModelCommand;
extern const Command kBenchServeCommand;
extern const Command kChatCommand;
extern const Command kDemoCommand;
extern const Command kDoctorCommand;
extern const Command kPerplexityCommand;
extern const Command kPlanCommand;
extern const Command kQuantizeCommand;
extern const Command kRunCommand;
extern const Command kServeCommand;
extern const Command kShowCommand;
extern const Command kTemplateCommand;
extern const Command kTokenizeCommand;
extern const Command kTopCommand;

}  // namespace quern
