#pragma once

#include <filesystem>
#include <map>

#include "base/json.h"
#include "base/result.h"
#include "measure/ceilings.h"

namespace quern {

/// The ceilings of one machine, by number of threads.
using CeilingsByThreads = std::map<int, Ceilings>;

/// ceilings.json of a cache folder:
///   {"schema":1,"machines":{KEY:{"2":{"measured_at","foreign_cores","figures":{NAME:{"value",
///   "spread"}}}}}}
/// with machine_key() as KEY and numbers of threads in it.
std::filesystem::path ceiling_file(const std::filesystem::path& cache_folder);

/// What such a text holds of one machine; nothing where it has no word of it. kBadFile, naming
/// `what`, for a text that is not as above: numbers must be finite and sensible.
Result<CeilingsByThreads> parse_ceilings(std::string_view text, const std::string& what,
                                         const std::string& key);

/// The same of a file; nothing where there is none.
Result<CeilingsByThreads> read_ceilings(const std::filesystem::path& file, const std::string& key);

/// Puts these in place of what is stored for the same machine and the same numbers of threads. A
/// damaged file is replaced.
Result<void> store_ceilings(const std::filesystem::path& file, const std::string& key,
                            const CeilingsByThreads& ceilings);

/// One entry of the file: {"measured_at","foreign_cores","figures"}.
Json ceilings_json(const Ceilings& ceilings);

}  // namespace quern
