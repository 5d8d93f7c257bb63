// What happens when, recorded while the server serves: the spans of the executor's steps and the
// requests over them, as a trace for Perfetto.

#include "server/api_error.h"
#include "server/endpoints.h"

namespace quern {

void start_profile(Service& service, Call call) {
  Profile& profile = service.profile;
  if (profile.state != Profile::State::kOff) {
    return service.respond(call,
                           api_error(400, "a profile is being recorded; /stop_profile ends it", {},
                                     "already_profiling"));
  }
  profile.state = Profile::State::kOn;
  profile.requests.clear();
  auto shared = std::make_shared<Call>(std::move(call));
  // Between two steps: nobody adds events then.
  service.on_engine([&service, shared] {
    service.profile.trace.start(Profile::kMostEvents);
    service.loop.post([&service, shared] {
      service.respond(*shared, json_response(200, {{"status", "ok"}}));
    });
  });
}

void stop_profile(Service& service, Call call) {
  Profile& profile = service.profile;
  if (profile.state != Profile::State::kOn) {
    return service.respond(call, api_error(400,
                                           "no profile is being recorded; /start_profile "
                                           "begins one",
                                           {}, "not_profiling"));
  }
  profile.state = Profile::State::kEnding;
  auto shared = std::make_shared<Call>(std::move(call));
  service.on_engine([&service, shared] {
    service.profile.trace.stop();
    // Many megabytes of text are no work for the engine's thread or the loop's.
    service.loop.post([&service, shared] {
      service.tasks.push([&service, shared, requests = std::move(service.profile.requests)] {
        const Trace& trace = service.profile.trace;
        auto text = std::make_shared<std::string>(
            chrome_trace(trace.events(), requests, trace.num_dropped()));
        service.loop.post([&service, shared, text] {
          service.profile.state = Profile::State::kOff;
          service.respond(
              *shared,
              {.status = 200,
               .headers = {{"content-type", "application/json"},
                           {"content-disposition", "attachment; filename=\"quern-trace.json\""}},
               .body = std::move(*text)});
        });
      });
    });
  });
}

}  // namespace quern
