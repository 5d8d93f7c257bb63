#pragma once

#include <string_view>

#include "base/json.h"
#include "base/result.h"
#include "checkpoint/checkpoint.h"

namespace quern {

/// The metadata whose keys begin with `prefix`, the rest of the key as the name of the member.
/// kBadFile for a list of more than 4,096 entries: no model's numbers need one.
Result<Json> metadata_json(const Checkpoint& checkpoint, std::string_view prefix,
                           std::string_view what);

/// Every number, flag and string of the metadata but the tokenizer's, for people.
Json scalar_metadata_json(const Checkpoint& checkpoint);

}  // namespace quern
