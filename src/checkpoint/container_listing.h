#pragma once

#include <filesystem>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/container.h"

namespace quern {

/// What `quern show FILE --container --json` prints of a weight file:
///   {"schema":1, "format":"gguf"|"safetensors", "metadata":{..},
///    "tensors":[{"name","dtype","shape","offset","bytes"}]}
/// Tensors stand in the order of the file; "dtype" is the format's own spelling, "shape" outermost
/// first, "offset" counts from the beginning of the file.
Json container_json(const Container& container);

/// The listing of the file at `path`, of any model or none and of any tensor types. The head is
/// checked as for loading; no tensor data is read. ONNX files are kUnsupported so far.
Result<Json> list_container(const std::filesystem::path& path);

}  // namespace quern
