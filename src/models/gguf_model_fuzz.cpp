#include <sys/mman.h>
#include <unistd.h>

#include "base/cat.h"
#include "base/log.h"
#include "models/model.h"
#include "models/weight_types.h"

// A GGUF file to a model with all its weights decoded and its text parts read.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace quern;
  set_log_level(LogLevel::kOff);
  const int file = memfd_create("fuzz", 0);
  ENSURE(file >= 0 && write(file, data, size) == static_cast<ssize_t>(size));
  const auto model = open_model(cat("/proc/self/fd/", file), {});
  if (model) {
    const auto choice = choose_weight_types(model->program, *model->weights, {}, {});
    ENSURE(choice);
    for (size_t i = 0; i < model->program.weights.size(); ++i) {
      const WeightId id{static_cast<int32_t>(i)};
      const WeightDecl& weight = model->program.weight(id);
      std::vector<float> row(static_cast<size_t>(weight.cols));
      for (const int64_t r : {int64_t{0}, weight.rows - 1}) {
        model->weights->decode_rows(id, r, {row.data(), 1, weight.cols, weight.cols});
      }
    }
    (void)model->files.chat_templates();
    (void)model->files.special_tokens();
    (void)model->files.tokenizer();
  }
  close(file);
  return 0;
}
