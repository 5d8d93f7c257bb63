#include "cli/load_flags.h"

#include <unistd.h>

#include <cstdio>
#include <memory>
#include <random>

#include "base/clock.h"
#include "base/numbers.h"
#include "cli/environment.h"

namespace quern {

namespace {

constexpr int64_t kMostTokens = 1 << 30;

std::vector<std::string> comma_separated(std::string_view text) {
  std::vector<std::string> parts;
  while (!text.empty()) {
    const size_t end = std::min(text.find(','), text.size());
    if (end > 0) parts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return parts;
}

/// --no-fuse alone leaves out all fusions, --no-fuse=a,b those.
FuseOptions read_fuse(const Arguments& arguments) {
  FuseOptions fuse;
  for (const std::string& value : arguments.texts("--no-fuse")) {
    if (value == "true") {
      fuse.all_off = true;
    } else {
      for (std::string& name : comma_separated(value)) fuse.off.push_back(std::move(name));
    }
  }
  return fuse;
}

}  // namespace

Result<uint64_t> read_seed(const Arguments& arguments) {
  const std::optional<std::string> word = arguments.text("--seed");
  if (!word) {
    std::random_device device;
    return (uint64_t{device()} << 32) | device();
  }
  if (const auto natural = parse_integer<uint64_t>(*word)) return *natural;
  if (const auto integer = parse_integer<int64_t>(*word)) return static_cast<uint64_t>(*integer);
  return bad_value("--seed", *word, "a 64-bit integer");
}

Result<std::optional<DType>> read_dtype(const Arguments& arguments, std::string_view name) {
  const std::optional<std::string> word = arguments.text(name);
  if (!word || *word == "auto") return std::optional<DType>();
  const std::optional<DType> dtype = DType::from_name(*word);
  if (dtype) return dtype;
  return bad_value(name, *word, cat("auto, ", dtype_names()));
}

Result<Activations> read_activations(const Arguments& arguments, std::string_view name) {
  const std::string word = arguments.text(name).value_or("auto");
  if (word == "auto") return Activations::kAuto;
  if (word == "f32") return Activations::kF32;
  if (word == "int8") return Activations::kInt8;
  return bad_value(name, word, "auto, f32 or int8");
}

Result<RunOptions> read_load_flags(const Arguments& arguments) {
  RunOptions options;
  options.executor = arguments.text("--executor").value_or("cpu");
  options.exec.isa = arguments.text("--isa").value_or("auto");
  ASSIGN_OR_RETURN(const auto threads, arguments.integer("--threads", 1, 1024));
  options.exec.threads = static_cast<int>(threads.value_or(0));
  ASSIGN_OR_RETURN(options.exec.activations, read_activations(arguments, "--activations"));
  ASSIGN_OR_RETURN(options.dtype, read_dtype(arguments, "--dtype"));
  for (const std::string& text : arguments.texts("--dtype-override")) {
    ASSIGN_OR_RETURN(DTypeOverride rule, parse_dtype_override(text));
    options.dtype_overrides.push_back(std::move(rule));
  }
  ASSIGN_OR_RETURN(options.kv_cache_dtype, read_dtype(arguments, "--kv-cache-dtype"));
  ASSIGN_OR_RETURN(const auto value_dtype, read_dtype(arguments, "--cache-type-v"));
  if (value_dtype && value_dtype != options.kv_cache_dtype) {
    return bad_value("--cache-type-v", *arguments.text("--cache-type-v"),
                     "the type of --kv-cache-dtype: values have the type of keys");
  }
  if (arguments.text("--max-model-len").value_or("auto") != "auto") {
    ASSIGN_OR_RETURN(options.max_model_len, arguments.integer("--max-model-len", 1, kMostTokens));
  }
  ASSIGN_OR_RETURN(const auto seqs, arguments.integer("--max-num-seqs", 1, 4096));
  options.max_num_seqs = seqs.value_or(options.max_num_seqs);
  ASSIGN_OR_RETURN(const auto batched, arguments.integer("--max-num-batched-tokens", 1, 1 << 20));
  options.max_num_batched_tokens = batched.value_or(options.max_num_batched_tokens);
  ASSIGN_OR_RETURN(options.memory_limit, arguments.size("--memory-limit"));
  ASSIGN_OR_RETURN(options.kv_cache_memory_bytes, arguments.size("--kv-cache-memory-bytes"));
  if (const auto cache = arguments.text("--weight-cache")) {
    if (cache->empty()) return bad_value("--weight-cache", *cache, "a folder, or off");
    if (*cache != "off") options.exec.weight_cache = *cache;
  } else if (options.executor == "cpu") {
    options.exec.weight_cache = cache_folder().value_or("");
  }
  options.no_kv_cache = arguments.on("--no-kv-cache");
  options.enable_prefix_caching = arguments.on("--enable-prefix-caching", true);
  options.fuse = read_fuse(arguments);
  const std::string scheduling = arguments.text("--scheduling").value_or("continuous");
  if (scheduling != "continuous" && scheduling != "static") {
    return bad_value("--scheduling", scheduling, "continuous or static");
  }
  options.static_scheduling = scheduling == "static";
  ASSIGN_OR_RETURN(options.seed, read_seed(arguments));
  return options;
}

std::function<void(double)> progress_bar(std::string label) {
  if (::isatty(STDERR_FILENO) == 0) return {};
  const int64_t start_ns = steady_clock().now_ns();
  const auto last_percent = std::make_shared<int>(-1);
  return [label = std::move(label), start_ns, last_percent](double fraction) {
    const int percent = static_cast<int>(fraction * 100);
    const bool shown = *last_percent >= 0;
    const bool late = steady_clock().now_ns() - start_ns > 1'000'000'000;
    if (percent == *last_percent || !(shown || late)) return;
    *last_percent = percent;
    constexpr int kWidth = 30;
    const int filled = percent * kWidth / 100;
    std::fprintf(stderr, "\r%s [%s%s] %3d %%", label.c_str(),
                 std::string(static_cast<size_t>(filled), '#').c_str(),
                 std::string(static_cast<size_t>(kWidth - filled), ' ').c_str(), percent);
    if (percent >= 100) std::fputs("\r\033[K", stderr);
    std::fflush(stderr);
  };
}

}  // namespace quern
