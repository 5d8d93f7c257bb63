#include "text/piece_merges.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "text/seeded_hash.h"
#include "text/utf8.h"

namespace quern {

namespace {

// Each cut of a piece looks at all its bytes. Gemma's 262,144 pieces take 2e7.
constexpr uint64_t kMaxBytesLookedAt = 1'000'000'000;

struct Candidate {
  float score;
  uint32_t piece;  // its place in the list
  int32_t left, right;
  uint32_t left_length, right_length;  // in code points
  int32_t result;
};

void sort(std::vector<Candidate>& candidates, MergeOrder order) {
  const auto by_score = [](const Candidate& a, const Candidate& b) { return a.score > b.score; };
  const auto by_ids = [](const Candidate& a, const Candidate& b) {
    return std::tuple(-a.score, a.piece, a.left, a.right) <
           std::tuple(-b.score, b.piece, b.left, b.right);
  };
  const auto by_lengths = [](const Candidate& a, const Candidate& b) {
    return std::tuple(-a.score, b.left_length, b.right_length, a.piece, a.left, a.right) <
           std::tuple(-b.score, a.left_length, a.right_length, b.piece, b.left, b.right);
  };
  switch (order) {
    case MergeOrder::kScore:
      std::stable_sort(candidates.begin(), candidates.end(), by_score);
      return;
    case MergeOrder::kScoreThenIds:
      std::sort(candidates.begin(), candidates.end(), by_ids);
      return;
    case MergeOrder::kScoreThenLengths:
      std::sort(candidates.begin(), candidates.end(), by_lengths);
      return;
  }
}

}  // namespace

Result<std::vector<Merge>> merges_of_pieces(std::span<const ScoredPiece> pieces, MergeOrder order,
                                            const TokenTable& tokens,
                                            std::vector<std::string>* extra_characters,
                                            std::string_view what) {
  std::vector<bool> is_part(static_cast<size_t>(tokens.id_limit()), false);
  for (const ScoredPiece& piece : pieces) {
    if (piece.is_part) is_part[static_cast<size_t>(piece.id)] = true;
  }
  std::unordered_map<std::string_view, int32_t, SeededHash> extra_ids;
  const auto find = [&](std::string_view text, uint32_t length) {
    const int32_t id = tokens.find(text);
    if (id >= 0 && is_part[static_cast<size_t>(id)]) return id;
    if (extra_characters == nullptr || length != 1 || id >= 0) return -1;
    const auto next = static_cast<int32_t>(tokens.id_limit() + extra_ids.size());
    return extra_ids.try_emplace(text, next).first->second;
  };

  std::vector<Candidate> candidates;
  uint64_t bytes = 0;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const ScoredPiece& piece = pieces[i];
    const auto length = static_cast<uint32_t>(count_code_points(piece.text));
    if (!piece.is_result || length < 2) continue;
    bytes += uint64_t{length} * piece.text.size();
    if (bytes > kMaxBytesLookedAt) {
      return Error{
          .code = ErrorCode::kBadFile,
          .message = cat(what, ": the pieces are too long to be cut into merges; \"",
                         piece.text.substr(0, 40), "...\" alone has ", length, " characters"),
          .what = std::string(what)};
    }
    uint32_t left_length = 0;
    for (size_t cut = read_utf8(piece.text, 0).size; cut < piece.text.size();
         cut += read_utf8(piece.text, cut).size) {
      ++left_length;
      const uint32_t right_length = length - left_length;
      const int32_t left = find(piece.text.substr(0, cut), left_length);
      if (left < 0) continue;
      const int32_t right = find(piece.text.substr(cut), right_length);
      if (right < 0) continue;
      candidates.push_back({piece.score, static_cast<uint32_t>(i), left, right, left_length,
                            right_length, piece.id});
    }
  }
  sort(candidates, order);

  if (extra_characters != nullptr) {
    extra_characters->resize(extra_ids.size());
    for (const auto& [text, id] : extra_ids) {
      (*extra_characters)[static_cast<size_t>(id - tokens.id_limit())] = std::string(text);
    }
  }
  std::vector<Merge> merges;
  merges.reserve(candidates.size());
  uint32_t rank = 0;
  for (size_t i = 0; i < candidates.size(); ++i) {
    const bool tie =
        order == MergeOrder::kScore && i > 0 && candidates[i].score == candidates[i - 1].score;
    if (i > 0 && !tie) ++rank;
    merges.push_back({candidates[i].left, candidates[i].right, rank, candidates[i].result});
  }
  return merges;
}

}  // namespace quern
