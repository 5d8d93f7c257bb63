#pragma once

#include "server/service.h"

namespace quern {

// One function a route, one file a group of routes under endpoints/; routes.cpp lists them. Each
// answers every call exactly once.

// endpoints/generate.cpp
void chat_completions(Service& service, Call call);
void completions(Service& service, Call call);

// endpoints/text.cpp
void tokenize(Service& service, Call call);
void detokenize(Service& service, Call call);
void apply_template(Service& service, Call call);

// endpoints/models.cpp
void models(Service& service, Call call);
void model(Service& service, Call call);
void props(Service& service, Call call);

// endpoints/status.cpp
void health(Service& service, Call call);
void livez(Service& service, Call call);
void readyz(Service& service, Call call);
void load(Service& service, Call call);
void version(Service& service, Call call);
void metrics_text(Service& service, Call call);
void slots(Service& service, Call call);
void account(Service& service, Call call);
void reset_prefix_cache(Service& service, Call call);

// endpoints/profile.cpp
void start_profile(Service& service, Call call);
void stop_profile(Service& service, Call call);

// endpoints/openapi.cpp
void openapi(Service& service, Call call);

}  // namespace quern
