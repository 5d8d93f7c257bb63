#include "exec/cpu/weight_cache.h"

#include <signal.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <string>
#include <vector>

#include "base/cat.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/log.h"
#include "base/numbers.h"
#include "exec/cpu/layout.h"

namespace quern::cpu {

namespace {

constexpr std::string_view kMagic = "QuernWts";
constexpr std::string_view kExtension = ".weights";
constexpr int64_t kPage = 4096;

int64_t num_chunks(int64_t arena_bytes) {
  constexpr auto kSize = static_cast<int64_t>(WeightCache::kChunk);
  return (arena_bytes + kSize - 1) / kSize;
}

template <typename Byte>
std::span<Byte> chunk_of(std::span<Byte> arena, int64_t chunk) {
  const auto begin = static_cast<size_t>(chunk) * WeightCache::kChunk;
  return arena.subspan(begin, std::min<size_t>(WeightCache::kChunk, arena.size() - begin));
}

void append(std::vector<std::byte>& bytes, uint64_t value) {
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<std::byte>(value >> 8 * i & 0xFF));
}
void append(std::vector<std::byte>& bytes, std::string_view text) {
  append(bytes, text.size());
  for (const char c : text) bytes.push_back(static_cast<std::byte>(c));
}
uint64_t number_at(std::span<const std::byte> bytes, size_t place) {
  uint64_t value = 0;
  for (size_t i = 0; i < 8; ++i) value |= std::to_integer<uint64_t>(bytes[place + i]) << 8 * i;
  return value;
}

/// Two rows of fixed bytes, packed: changes whenever the layout of the type does.
uint64_t layout_probe(DType dtype) {
  const int64_t cols = std::max<int64_t>(64, dtype.block_values());
  const PanelLayout layout = *PanelLayout::of(dtype, cols);
  const auto row_bytes = static_cast<size_t>(dtype.row_bytes(cols));
  std::vector<std::byte> stored(2 * row_bytes), panel(static_cast<size_t>(layout.panel_bytes()));
  for (size_t i = 0; i < stored.size(); ++i) stored[i] = static_cast<std::byte>(i * 37 + 11);
  const std::byte* const rows[] = {stored.data(), stored.data() + row_bytes};
  layout.pack(rows, panel.data());
  return xxh64(panel);
}

/// Whether a file beside its place belongs to a process that is no more.
bool is_left_over(const std::filesystem::path& path) {
  const std::string name = path.filename().string();
  const size_t mark = name.rfind(".tmp.");
  if (mark == std::string::npos) return false;
  const auto pid = parse_integer<int32_t>(std::string_view(name).substr(mark + 5));
  return pid && *pid > 0 && ::kill(*pid, 0) != 0 && errno == ESRCH;
}

}  // namespace

uint64_t WeightCache::key_of(const Program& program, const WeightTypes& types,
                             const WeightSource& source, const Plan& plan) {
  std::vector<std::byte> facts;
  std::vector<float> row;
  append(facts, source.fingerprint());
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& decl = program.weights[i];
    const DType dtype = types[WeightId{static_cast<int32_t>(i)}];
    append(facts, decl.name);
    append(facts, static_cast<uint64_t>(decl.rows));
    append(facts, static_cast<uint64_t>(decl.cols));
    append(facts, static_cast<uint64_t>(decl.kind));
    append(facts, dtype.name());
    append(facts, static_cast<uint64_t>(plan.weights[i]));
    append(facts, decl.kind == WeightDecl::Kind::kVector ? 0 : layout_probe(dtype));
    // One row as the Program sees it: tells when a build reads the same file in another order.
    row.resize(static_cast<size_t>(decl.cols));
    source.decode_rows(WeightId{static_cast<int32_t>(i)}, decl.rows / 2,
                       {row.data(), 1, decl.cols, decl.cols});
    append(facts, xxh64(std::as_bytes(std::span(row))));
    source.release(WeightId{static_cast<int32_t>(i)});
  }
  return xxh64(facts);
}

std::filesystem::path WeightCache::path() const {
  std::array<char, 17> digits{};
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(key_));
  return folder_ / cat(std::string_view(digits.data()), kExtension);
}

int64_t WeightCache::header_bytes(int64_t arena_bytes) {
  const int64_t used = 24 + 8 * num_chunks(arena_bytes) + 8;
  return (used + kPage - 1) / kPage * kPage;
}

Result<std::span<const std::byte>> WeightCache::check_header(std::span<const std::byte> header,
                                                             uint64_t file_bytes, uint64_t key,
                                                             int64_t arena_bytes) {
  const auto wrong = [](std::string message) {
    return Error{.code = ErrorCode::kBadFile, .message = std::move(message)};
  };
  const auto before = static_cast<size_t>(header_bytes(arena_bytes));
  if (header.size() < before || file_bytes != before + static_cast<uint64_t>(arena_bytes)) {
    return wrong(
        cat("has ", file_bytes, " bytes, wanted ", before + static_cast<uint64_t>(arena_bytes)));
  }
  if (std::memcmp(header.data(), kMagic.data(), kMagic.size()) != 0) {
    return wrong("is not a file of packed weights");
  }
  if (number_at(header, 8) != key) return wrong("holds the weights of another model");
  if (number_at(header, 16) != static_cast<uint64_t>(arena_bytes)) {
    return wrong(
        cat("says it holds ", number_at(header, 16), " bytes of weights, wanted ", arena_bytes));
  }
  const size_t sums = 8 * static_cast<size_t>(num_chunks(arena_bytes));
  if (number_at(header, 24 + sums) != xxh64(header.first(24 + sums))) {
    return wrong("has a damaged header");
  }
  return header.subspan(24, sums);
}

Result<bool> WeightCache::read(const Arena& arena, ThreadPool& pool) const {
  Result<OpenFile> file = OpenFile::open(path());
  if (!file) {
    if (file.error().code == ErrorCode::kNotFound) return false;
    return std::move(file).error();
  }
  const auto before = static_cast<uint64_t>(header_bytes(arena_bytes_));
  std::vector<std::byte> header(std::min(before, file->size()));
  RETURN_IF_ERROR(file->read_at(0, header));
  ASSIGN_OR_RETURN(const std::span<const std::byte> sums,
                   check_header(header, file->size(), key_, arena_bytes_));
  const std::span<std::byte> bytes(arena.at(0), static_cast<size_t>(arena_bytes_));
  std::atomic<bool> whole = true;
  pool.parallel_for(num_chunks(arena_bytes_), [&](int64_t chunk, int) {
    const std::span<std::byte> part = chunk_of(bytes, chunk);
    const auto place = static_cast<uint64_t>(chunk) * kChunk;
    const uint64_t expected = number_at(sums, 8 * static_cast<size_t>(chunk));
    if (!file->read_at(before + place, part) || xxh64(part) != expected) whole = false;
  });
  if (!whole) {
    return Error{.code = ErrorCode::kBadFile, .message = "has a damaged part"};
  }
  // Used now: the oldest go first.
  std::error_code ignored;
  std::filesystem::last_write_time(path(), std::filesystem::file_time_type::clock::now(), ignored);
  return true;
}

bool WeightCache::find(const Arena& arena, ThreadPool& pool) const {
  const Result<bool> found = read(arena, pool);
  if (found) return *found;
  log_warning(cat(path().string(), ": ", found.error().message, "; the weights are packed anew"));
  return false;
}

Result<void> WeightCache::make_room(uint64_t bytes) const {
  std::error_code failed;
  std::filesystem::create_directories(folder_, failed);
  if (failed) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat(folder_.string(), ": cannot be made: ", failed.message())};
  }
  struct Kept {
    std::filesystem::path path;
    std::filesystem::file_time_type used;
    uint64_t bytes;
  };
  std::vector<Kept> kept;
  uint64_t all = 0;
  for (std::filesystem::directory_iterator entry(folder_, failed), end; !failed && entry != end;
       entry.increment(failed)) {
    std::error_code gone;  // another process may have removed it
    if (entry->path().filename().string().find(kExtension) == std::string::npos) continue;
    if (is_left_over(entry->path())) {
      std::filesystem::remove(entry->path(), gone);
      continue;
    }
    if (entry->path().extension() != kExtension || entry->path() == path()) continue;
    Kept file{entry->path(), entry->last_write_time(gone), entry->file_size(gone)};
    if (gone) continue;
    all += file.bytes;
    kept.push_back(std::move(file));
  }
  const std::filesystem::space_info space = std::filesystem::space(folder_, failed);
  if (failed) {
    return Error{.code = ErrorCode::kSystem,
                 .message = cat(folder_.string(), ": cannot be read: ", failed.message())};
  }
  const uint64_t most = (space.available + all) / 2;
  if (bytes > most) {
    return Error{
        .code = ErrorCode::kSystem,
        .message = cat(folder_.string(), ": packed weights may take ", most >> 20,
                       " MiB there, half of what is free; these take ", bytes >> 20, " MiB")};
  }
  std::ranges::sort(kept, {}, &Kept::used);
  for (const Kept& file : kept) {
    if (all + bytes <= most) break;
    std::error_code gone;
    std::filesystem::remove(file.path, gone);
    all -= file.bytes;
  }
  return {};
}

Result<void> WeightCache::write(const Arena& arena, ThreadPool& pool) const {
  const std::span<const std::byte> bytes(arena.at(0), static_cast<size_t>(arena_bytes_));
  const auto before = static_cast<size_t>(header_bytes(arena_bytes_));
  RETURN_IF_ERROR(make_room(before + bytes.size()));
  ASSIGN_OR_RETURN(NewFile file, NewFile::create(path()));
  RETURN_IF_ERROR(file.reserve(before + bytes.size()));

  std::vector<uint64_t> sums(static_cast<size_t>(num_chunks(arena_bytes_)));
  pool.parallel_for(num_chunks(arena_bytes_), [&](int64_t chunk, int) {
    sums[static_cast<size_t>(chunk)] = xxh64(chunk_of(bytes, chunk));
  });
  std::vector<std::byte> header;
  for (const char c : kMagic) header.push_back(static_cast<std::byte>(c));
  append(header, key_);
  append(header, static_cast<uint64_t>(arena_bytes_));
  for (const uint64_t sum : sums) append(header, sum);
  append(header, xxh64(header));
  header.resize(before);
  RETURN_IF_ERROR(file.write(header));
  RETURN_IF_ERROR(file.write(bytes));
  // The checksums tell of what a power cut leaves half written.
  return file.publish();
}

void WeightCache::store(const Arena& arena, ThreadPool& pool) const {
  const Result<void> written = write(arena, pool);
  if (!written) {
    log_warning(cat("packed weights are not kept (--weight-cache off spares the attempt): ",
                    written.error().message));
  }
}

}  // namespace quern::cpu
