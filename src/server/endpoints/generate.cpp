#include "server/answer.h"
#include "server/endpoints.h"

namespace quern {

void chat_completions(Service& service, Call call) {
  Answer::start(service, std::move(call), kChatRoute);
}

void completions(Service& service, Call call) {
  Answer::start(service, std::move(call), kCompletionsRoute);
}

}  // namespace quern
