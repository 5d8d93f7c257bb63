#include "models/gguf_metadata.h"

#include <type_traits>

#include "base/cat.h"

namespace quern {

namespace {

/// Where members can be added at the end: keys of metadata are unique already, and inserting by key
/// would search all the earlier ones each time, which takes hours for a head of millions.
Json::object_t::Container& members_of(Json& object) { return object.get_ref<Json::object_t&>(); }

}  // namespace

Result<Json> metadata_json(const Checkpoint& checkpoint, std::string_view prefix,
                           std::string_view what) {
  constexpr size_t kMaxEntries = 4096;
  Json out = Json::object();
  auto& members = members_of(out);
  for (const auto& [key, value] : checkpoint.metadata()) {
    if (!key.starts_with(prefix)) continue;
    const std::string name = key.substr(prefix.size());
    bool too_long = false;
    std::visit(
        [&](const auto& held) {
          using Held = std::remove_cvref_t<decltype(held)>;
          if constexpr (std::is_same_v<Held, MetadataArrays>) {
            too_long = true;  // lists of lists: nothing here has any
          } else if constexpr (requires { held.begin(); } && !std::is_same_v<Held, std::string>) {
            too_long = held.size() > kMaxEntries;
            if (too_long) return;
            Json list = Json::array();
            for (const auto& item : held) {
              list.push_back(static_cast<typename Held::value_type>(item));
            }
            members.emplace_back(name, std::move(list));
          } else {
            members.emplace_back(name, Json(held));
          }
        },
        value.value);
    if (too_long) {
      return Error{.code = ErrorCode::kBadFile,
                   .message = cat(what, ": metadata \"", key.substr(0, 80),
                                  "\" is a list of lists or of more than ", kMaxEntries,
                                  " entries, wanted a number of the model"),
                   .what = key.substr(0, 80),
                   .wanted = cat("at most ", kMaxEntries, " entries")};
    }
  }
  return out;
}

Json scalar_metadata_json(const Checkpoint& checkpoint) {
  Json out = Json::object();
  auto& members = members_of(out);
  for (const auto& [key, value] : checkpoint.metadata()) {
    if (key.starts_with("tokenizer.")) continue;
    std::visit(
        [&](const auto& held) {
          using Held = std::remove_cvref_t<decltype(held)>;
          constexpr bool kText = std::is_same_v<Held, std::string>;
          if constexpr (kText || std::is_arithmetic_v<Held>) members.emplace_back(key, Json(held));
        },
        value.value);
  }
  return out;
}

}  // namespace quern
