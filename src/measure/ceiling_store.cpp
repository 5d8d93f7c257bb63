#include "measure/ceiling_store.h"

#include <cmath>

#include "base/file.h"
#include "base/numbers.h"

namespace quern {

namespace {

constexpr uint64_t kMostBytes = 1 << 20;
constexpr int64_t kMostThreads = 1 << 16;
/// Beyond any machine in any of the units: what is above is damage.
constexpr double kMostValue = 1e9;

Error damaged(const std::string& what, std::string_view why) {
  return Error{.code = ErrorCode::kBadFile,
               .message = cat(what, ": ", why, "; quern doctor --ceilings measures anew"),
               .what = what};
}

Result<Measured> parse_measured(const Json& json, const std::string& what) {
  if (!json.is_object()) return damaged(what, "a figure is no object");
  const JsonFields fields(json, what);
  ASSIGN_OR_RETURN(const auto value, fields.number("value"));
  ASSIGN_OR_RETURN(const auto spread, fields.number("spread"));
  if (!value || !std::isfinite(*value) || *value <= 0 || *value > kMostValue) {
    return damaged(what, "a figure has no sensible value");
  }
  if (!spread || !std::isfinite(*spread) || *spread < 0 || *spread > kMostValue) {
    return damaged(what, "a figure has no sensible spread");
  }
  return Measured{.value = *value, .spread = *spread};
}

Result<Ceilings> parse_entry(const Json& json, int threads, const std::string& what) {
  if (!json.is_object()) return damaged(what, "an entry is no object");
  const JsonFields fields(json, what);
  Ceilings ceilings{.threads = threads, .figures = {}, .measured_at = {}};
  ASSIGN_OR_RETURN(const auto measured_at, fields.text("measured_at"));
  ASSIGN_OR_RETURN(const auto foreign_cores, fields.number("foreign_cores"));
  ceilings.measured_at = measured_at.value_or("");
  ceilings.foreign_cores = foreign_cores.value_or(0);
  if (!std::isfinite(ceilings.foreign_cores)) return damaged(what, "foreign_cores is not finite");
  const Json* const figures = fields.find("figures");
  if (figures == nullptr || !figures->is_object()) return damaged(what, "an entry has no figures");
  // Names that this version does not know are another version's.
  for (const std::string& name : ceiling_names()) {
    const auto found = figures->find(name);
    if (found == figures->end()) continue;
    ASSIGN_OR_RETURN(const Measured measured, parse_measured(*found, what));
    ceilings.figures[name] = measured;
  }
  return ceilings;
}

/// The text as an object with machines in it.
Result<Json> parse_whole(std::string_view text, const std::string& what) {
  Result<Json> whole = parse_json(text, what);
  if (!whole) return damaged(what, "is no JSON");
  if (!whole->is_object()) return damaged(what, "is no JSON object");
  const auto schema = whole->find("schema");
  if (schema == whole->end() || *schema != 1) return damaged(what, "is not of schema 1");
  const auto machines = whole->find("machines");
  if (machines == whole->end() || !machines->is_object()) return damaged(what, "has no machines");
  return whole;
}

Result<CeilingsByThreads> parse_machine(const Json& whole, const std::string& what,
                                        const std::string& key) {
  CeilingsByThreads all;
  const Json& machines = whole["machines"];
  const auto machine = machines.find(key);
  if (machine == machines.end()) return all;
  if (!machine->is_object()) return damaged(what, "this machine's entry is no object");
  for (const auto& [word, entry] : machine->items()) {
    const std::optional<int64_t> threads = parse_integer<int64_t>(word);
    if (!threads || *threads < 1 || *threads > kMostThreads) {
      return damaged(what, "a number of threads is none");
    }
    const int count = static_cast<int>(*threads);
    ASSIGN_OR_RETURN(Ceilings ceilings, parse_entry(entry, count, what));
    all[count] = std::move(ceilings);
  }
  return all;
}

/// The file's object; one without machines where there is no file, or one that cannot be used.
Json whole_or_new(const std::filesystem::path& file, const std::string& key) {
  if (const Result<std::string> text = read_file(file, kMostBytes)) {
    Result<Json> whole = parse_whole(*text, file.string());
    if (whole && parse_machine(*whole, file.string(), key)) return std::move(whole).value();
  }
  return {{"schema", 1}, {"machines", Json::object()}};
}

}  // namespace

std::filesystem::path ceiling_file(const std::filesystem::path& cache_folder) {
  return cache_folder / "ceilings.json";
}

Result<CeilingsByThreads> parse_ceilings(std::string_view text, const std::string& what,
                                         const std::string& key) {
  ASSIGN_OR_RETURN(const Json whole, parse_whole(text, what));
  return parse_machine(whole, what, key);
}

Result<CeilingsByThreads> read_ceilings(const std::filesystem::path& file, const std::string& key) {
  const Result<std::string> text = read_file(file, kMostBytes);
  if (text) return parse_ceilings(*text, file.string(), key);
  if (text.error().code == ErrorCode::kNotFound) return CeilingsByThreads();
  return text.error();
}

Result<void> store_ceilings(const std::filesystem::path& file, const std::string& key,
                            const CeilingsByThreads& ceilings) {
  Json whole = whole_or_new(file, key);
  for (const auto& [threads, entry] : ceilings) {
    whole["machines"][key][cat(threads)] = ceilings_json(entry);
  }
  std::error_code failed;
  std::filesystem::create_directories(file.parent_path(), failed);
  return write_file_atomically(file, dump_json(whole) + "\n");
}

Json ceilings_json(const Ceilings& ceilings) {
  Json figures = Json::object();
  for (const std::string& name : ceiling_names()) {
    const auto found = ceilings.figures.find(name);
    if (found == ceilings.figures.end()) continue;
    figures[name] = {{"value", found->second.value}, {"spread", found->second.spread}};
  }
  return {{"measured_at", ceilings.measured_at},
          {"foreign_cores", ceilings.foreign_cores},
          {"figures", std::move(figures)}};
}

}  // namespace quern
