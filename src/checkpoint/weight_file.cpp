#include "checkpoint/weight_file.h"

#include <string>
#include <string_view>

#include "base/cat.h"
#include "checkpoint/gguf.h"
#include "checkpoint/safetensors.h"

namespace quern {

Result<Container> parse_weight_file(std::span<const std::byte> file,
                                    const std::filesystem::path& path) {
  const std::string what = path.string(), extension = path.extension().string();
  const std::string_view content(reinterpret_cast<const char*>(file.data()), file.size());
  auto unsupported = [&](std::string_view why) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat(what, ": ", why),
                 .what = what,
                 .wanted = "a safetensors or GGUF file"};
  };
  if (content.starts_with("GGUF") || extension == ".gguf") return parse_gguf(file, what);
  if (extension == ".onnx") {
    return unsupported("is an ONNX file, which this version of quern does not read yet");
  }
  if (content.starts_with("PK\x03\x04")) {
    return unsupported(
        "is a zip archive, as PyTorch writes its weights; convert the model to safetensors");
  }
  const bool has_json_header = content.size() > 8 && content[8] == '{';
  if (has_json_header || extension == ".safetensors") return parse_safetensors(file, what);
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": is neither a safetensors nor a GGUF file, or is truncated"),
               .what = what,
               .wanted = "a safetensors or GGUF file"};
}

}  // namespace quern
