#include "base/log.h"
#include "models/architecture.h"

// config.json to Program: no text may crash, hang or allocate out of proportion.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  quern::set_log_level(quern::LogLevel::kOff);
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto json = quern::parse_json(text, "fuzz");
  if (!json) return 0;
  const auto config = quern::read_config_json(*json, "fuzz");
  if (!config) return 0;
  ENSURE(!quern::dump_json(quern::config_json(*config)).empty());
  // A model is only built with as many layers as its files have tensors; here is no file.
  if (config->num_hidden_layers > 64) return 0;
  const quern::Architecture* architecture = quern::find_architecture(config->architecture);
  const auto program = architecture->build(*config);
  if (!program) return 0;
  ENSURE(std::cmp_equal(program->kv_layers.size(), config->num_hidden_layers));
  return 0;
}
