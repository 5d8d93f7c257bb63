#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <random>

#include "base/file.h"
#include "base/json.h"
#include "cli/commands.h"
#include "cli/load_flags.h"
#include "cli/model_argument.h"
#include "cli/output.h"
#include "cli/run.h"
#include "server/server.h"

namespace quern {

namespace {

constexpr size_t kMostKeys = 64;  // tenants that the engine tells apart

/// The keys of --api-key and of the lines of --api-key-file.
Result<std::vector<std::string>> read_keys(const Arguments& arguments) {
  std::vector<std::string> keys = arguments.texts("--api-key");
  if (const auto file = arguments.text("--api-key-file")) {
    ASSIGN_OR_RETURN(const std::string text, read_file(*file, 1 << 20));
    std::string_view rest = text;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      std::string_view line = rest.substr(0, end);
      while (line.ends_with('\r') || line.ends_with(' ')) line.remove_suffix(1);
      if (!line.empty()) keys.emplace_back(line);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
    if (keys.empty()) {
      return Error{.code = ErrorCode::kUsage,
                   .message = cat(*file, ": holds no key; wanted one a line"),
                   .what = "--api-key-file",
                   .found = *file,
                   .wanted = "a key a line"};
    }
  }
  for (const std::string& key : keys) {
    const bool printable_only =
        !key.empty() && std::ranges::all_of(key, [](char c) { return c > ' ' && c <= '~'; });
    if (!printable_only)
      return bad_value("--api-key", "(a key)", "printable characters, no spaces");
  }
  if (keys.size() > kMostKeys) {
    return bad_value("--api-key", cat(keys.size(), " keys"), cat("at most ", kMostKeys));
  }
  return keys;
}

Result<ServerOptions> read_server_flags(const Arguments& arguments) {
  ServerOptions options;
  options.http.host = arguments.text("--host").value_or("127.0.0.1");
  ASSIGN_OR_RETURN(const auto port, arguments.integer("--port", 0, 65535));
  options.http.port = static_cast<uint16_t>(port.value_or(8000));
  options.http.certificate_file = arguments.text("--ssl-certfile").value_or("");
  options.http.key_file = arguments.text("--ssl-keyfile").value_or("");
  options.served_model_name = arguments.text("--served-model-name").value_or("");
  ASSIGN_OR_RETURN(options.api_keys, read_keys(arguments));
  ASSIGN_OR_RETURN(const auto queue, arguments.integer("--max-queue", 0, 1'000'000));
  options.max_queue = queue.value_or(options.max_queue);
  options.access_log = arguments.text("--access-log");
  options.version = QUERN_VERSION;
  return options;
}

Result<int> run_serve(const Arguments& given) {
  const Arguments arguments = given.positional().empty() ? given.with_positional({"demo"}) : given;
  ASSIGN_OR_RETURN(ServerOptions server_options, read_server_flags(arguments));
  ASSIGN_OR_RETURN(RunOptions options, read_load_flags(arguments));
  ASSIGN_OR_RETURN(const auto stretch, arguments.number("--max-step-stretch", 0, 1000));
  options.max_step_stretch = stretch.value_or(1.35);
  ASSIGN_OR_RETURN(const auto drain_s, arguments.integer("--drain-timeout", 0, 86'400));
  const int64_t drain_timeout_ms = drain_s.value_or(30) * 1000;
  // Strangers choose what is cached: they must not be able to choose what its hashes are.
  std::random_device device;
  options.hash_key = (uint64_t{device()} << 32) | device();
  options.max_live_requests = server_options.max_queue + options.max_num_seqs;
  ASSIGN_OR_RETURN(const auto live_tokens,
                   arguments.integer("--max-live-tokens", 1, int64_t{1} << 40));
  options.max_live_tokens = live_tokens.value_or(options.max_live_tokens);
  ASSIGN_OR_RETURN(const auto share, arguments.number("--max-cached-share", 0, 1));
  options.max_salt_share = share.value_or(options.max_salt_share);
  options.extra_wanted_rows = kPromptLogprobRows;

  const InterruptsNoted noted;
  ASSIGN_OR_RETURN(const std::unique_ptr<Server> server, Server::listen(server_options));
  options.exec.trace = &server->trace();
  ASSIGN_OR_RETURN(const std::unique_ptr<Model> model, open_model_argument(arguments));
  ASSIGN_OR_RETURN(const std::unique_ptr<Llm> llm, load_llm(*model, options));

  const ExecShape& shape = llm->plan().shape;
  if (options.max_live_tokens < shape.max_model_len) {
    return bad_value("--max-live-tokens", cat(options.max_live_tokens),
                     cat("at least the context of ", shape.max_model_len));
  }
  const int64_t kv_tokens = shape.kv_blocks.front() * kKvBlockTokens;
  Result<void> written;
  server->serve(
      *model, *llm, [&] { return interrupted() || !written; },
      [&](const std::string& id) {
        std::fprintf(stderr,
                     "%s: context %lld, KV cache of %lld tokens, maximum concurrency at full "
                     "context: %.1fx\n%s\n%s/metrics\n",
                     id.c_str(), static_cast<long long>(shape.max_model_len),
                     static_cast<long long>(kv_tokens),
                     static_cast<double>(kv_tokens) / static_cast<double>(shape.max_model_len),
                     server->url().c_str(), server->url().c_str());
        print_json({{"event", "ready"},
                    {"url", server->url()},
                    {"model", id},
                    {"max_model_len", shape.max_model_len},
                    {"kv_tokens", kv_tokens},
                    {"pid", ::getpid()}});
        if (const auto file = arguments.text("--ready-file")) {
          written = write_file_atomically(*file, server->url() + "\n");
        }
      },
      drain_timeout_ms);
  RETURN_IF_ERROR(written);
  forget_interrupt();
  return 0;
}

constexpr std::string_view kFlags[] = {"--model",
                                       "--host",
                                       "--port",
                                       "--served-model-name",
                                       "--api-key",
                                       "--api-key-file",
                                       "--ssl-certfile",
                                       "--ssl-keyfile",
                                       "--ready-file",
                                       "--drain-timeout",
                                       "--max-queue",
                                       "--max-step-stretch",
                                       "--access-log",
                                       "--chat-template-file",
                                       "--max-live-tokens",
                                       "--max-cached-share",
                                       "--metrics",
                                       "--slots",
                                       "--jinja"};

}  // namespace

const Command kServeCommand = {{.name = "serve",
                                .arguments = "[MODEL]",
                                .summary = "the OpenAI API over HTTP",
                                .min_positional = 0,
                                .max_positional = 1,
                                .load_flags = true,
                                .request_flags = false,
                                .flags = kFlags},
                               run_serve};

}  // namespace quern
