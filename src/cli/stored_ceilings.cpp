#include "cli/stored_ceilings.h"

#include <cstdio>

#include "base/log.h"
#include "cli/environment.h"
#include "measure/machine.h"

namespace quern {

namespace {

Json number_or_null(const std::optional<Measured>& measured) {
  return measured ? Json(measured->value) : Json();
}

std::string padded(const std::string& text, size_t width) {
  return std::string(text.size() < width ? width - text.size() : 0, ' ') + text;
}

/// Three digits, as many after the point as that leaves.
std::string short_number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f", value < 10 ? 2 : value < 100 ? 1 : 0, value);
  return text;
}

}  // namespace

CeilingsByThreads stored_ceilings() {
  const auto folder = cache_folder();
  if (!folder) return {};
  Result<CeilingsByThreads> stored = read_ceilings(ceiling_file(*folder), machine_key());
  if (stored) return std::move(stored).value();
  log_warning(cat("stored ceilings are not used: ", stored.error().message));
  return {};
}

void store_ceilings(const CeilingsByThreads& ceilings) {
  const auto folder = cache_folder();
  if (!folder) {
    log_warning("the ceilings are not stored: neither XDG_CACHE_HOME nor HOME names a folder");
    return;
  }
  const Result<void> stored = store_ceilings(ceiling_file(*folder), machine_key(), ceilings);
  if (!stored) log_warning(cat("the ceilings are not stored: ", stored.error().message));
}

Json ceilings_report(const CeilingsByThreads& ceilings, int threads) {
  const Ceilings& led = ceilings.at(threads);
  Json report = Json::object();
  Json read = Json::object(), spread = Json::object(), by_threads = Json::object();
  for (const auto& [count, entry] : ceilings) {
    read[cat(count)] = number_or_null(headlines()[0].of(entry));
    by_threads[cat(count)] = ceilings_json(entry);
  }
  for (const Headline& headline : headlines()) {
    const std::optional<Measured> measured = headline.of(led);
    const std::string name(headline.name);
    report[name] = name == "read_gb_s" ? read : number_or_null(measured);
    spread[name] = measured ? Json(measured->spread) : Json();
  }
  report["threads"] = threads;
  report["measured_at"] = led.measured_at;
  report["foreign_cores"] = led.foreign_cores;
  report["spread"] = std::move(spread);
  report["unsteady"] = led.unsteady();
  report["by_threads"] = std::move(by_threads);
  return report;
}

std::string ceilings_text(const CeilingsByThreads& ceilings, int threads) {
  std::string text = cat("\n", std::string(18, ' '));
  std::vector<const Ceilings*> columns;
  for (const auto& [count, entry] : ceilings) {
    if (count != 1 && count != threads) continue;
    columns.push_back(&entry);
    text += padded(cat(count, count == 1 ? " thread" : " threads"), 12) + padded("spread", 9);
  }
  for (const Headline& headline : headlines()) {
    std::string line = cat("\n", headline.name, std::string(18 - headline.name.size(), ' '));
    for (const Ceilings* column : columns) {
      const std::optional<Measured> measured = headline.of(*column);
      line += padded(measured ? short_number(measured->value) : "-", 12);
      line += padded(measured ? cat(short_number(100 * measured->spread), " %") : "", 9);
    }
    text += line;
  }
  const Ceilings& led = ceilings.at(threads);
  return cat(text, "\nmeasured at ", printable(led.measured_at), ", five runs each, beside ",
             short_number(led.foreign_cores), " cores of other load\n");
}

}  // namespace quern
