#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

#include "base/result.h"
#include "base/thread_pool.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/plan.h"
#include "program/weight_source.h"

namespace quern::cpu {

/// Packed weights on disk: the arena of weights as a file, which the next start of the same model
/// reads instead of packing anew. A file is found by its key alone and trusted only when its
/// checksums hold; whatever is wrong with one, weights are packed as if it were not there.
///
///   8 bytes  "QuernWts"
///   u64      key
///   u64      bytes of the arena, a multiple of 4096
///   u64 x n  XXH64 of each kChunk bytes of it
///   u64      XXH64 of everything before
///   zeros to the next multiple of 4096, then the arena
///
/// Numbers are little-endian. Any number of processes may read and write at once: a file is written
/// beside its place and renamed when whole.
class WeightCache {
 public:
  static constexpr uint64_t kChunk = uint64_t{4} << 20;

  /// `folder` need not exist yet.
  WeightCache(std::filesystem::path folder, uint64_t key, int64_t arena_bytes)
      : folder_(std::move(folder)), key_(key), arena_bytes_(arena_bytes) {}

  /// What decides every byte of the arena: the stored tensors, the Program's weights and their
  /// types and places, and how this build packs each type.
  static uint64_t key_of(const Program& program, const WeightTypes& types,
                         const WeightSource& source, const Plan& plan);

  /// Fills `arena` with what is kept, its checksums compared. False, with anything in the arena,
  /// where nothing is, or what is there is damaged (which is said in a warning).
  bool find(const Arena& arena, ThreadPool& pool) const;
  /// Keeps `arena`. Older files go where they would take more than half of the room that there is
  /// for them. What cannot be kept (a full disk, a folder that cannot be written) is a warning.
  void store(const Arena& arena, ThreadPool& pool) const;

  std::filesystem::path path() const;

  /// Bytes before the arena.
  static int64_t header_bytes(int64_t arena_bytes);
  /// The checksums in the header of a file of `file_bytes` bytes that begins with `header`;
  /// kBadFile says what is wrong with it.
  static Result<std::span<const std::byte>> check_header(std::span<const std::byte> header,
                                                         uint64_t file_bytes, uint64_t key,
                                                         int64_t arena_bytes);

 private:
  Result<bool> read(const Arena& arena, ThreadPool& pool) const;
  Result<void> write(const Arena& arena, ThreadPool& pool) const;
  Result<void> make_room(uint64_t bytes) const;

  std::filesystem::path folder_;
  uint64_t key_;
  int64_t arena_bytes_;
};

}  // namespace quern::cpu
