#include "engine/simulation/hash_executor.h"

#include <algorithm>

#include "base/cat.h"
#include "base/ensure.h"

namespace quern {

namespace {

/// The finaliser of splitmix64: a bijection that mixes every bit.
constexpr uint64_t mix(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

}  // namespace

HashExecutor::HashExecutor(const HashExecutorOptions& options) : options_(options) {
  for (const KvGroupSize& group : options.groups) {
    cells_.emplace_back(static_cast<size_t>(group.num_blocks * kKvBlockTokens));
  }
  const auto rows = static_cast<size_t>(options.max_wanted_rows);
  prefixes_.resize(static_cast<size_t>(options.max_batched_tokens + options.max_num_seqs));
  logits_.resize(rows * static_cast<size_t>(options.vocab_size));
  best_.resize(rows);
  best_spans_.resize(rows);
}

uint64_t HashExecutor::extend(uint64_t prefix, int32_t token_id) {
  return mix(prefix * 0x9E3779B97F4A7C15 + static_cast<uint32_t>(token_id) + 1);
}

void HashExecutor::fill_logits(uint64_t prefix, std::span<float> logits) {
  uint64_t state = prefix;
  for (float& logit : logits) {
    state += 0x9E3779B97F4A7C15;
    logit = static_cast<float>(mix(state) >> 48) * 0x1p-13f;  // 0 .. 8
  }
}

void HashExecutor::report(std::string what) {
  if (!violation_) violation_ = std::move(what);
}

void HashExecutor::check_limits(const Batch& batch) {
  const int64_t most = options_.max_batched_tokens + options_.max_num_seqs;
  if (batch.num_tokens() > most) report(cat("a step of ", batch.num_tokens(), " tokens"));
  if (batch.num_sequences() > options_.max_num_seqs) {
    report(cat("a step of ", batch.num_sequences(), " sequences"));
  }
  if (static_cast<int64_t>(batch.wishes.size()) > options_.max_wanted_rows) {
    report(cat("a step that wants ", batch.wishes.size(), " rows"));
  }
  for (size_t i = 1; i < batch.wishes.size(); ++i) {
    if (batch.wishes[i].row <= batch.wishes[i - 1].row) report("wishes are not in order");
  }
}

HashExecutor::Cell* HashExecutor::cell(const Batch& batch, size_t group, int64_t sequence,
                                       int64_t position) {
  const int32_t block = batch.block_tables[group].block(sequence, position);
  if (block < 0 || block >= options_.groups[group].num_blocks) {
    report(cat("position ", position, " of group ", group, " has block ", block));
    return nullptr;
  }
  return &cells_[group][static_cast<size_t>(block) * kKvBlockTokens +
                        static_cast<size_t>(position % kKvBlockTokens)];
}

void HashExecutor::append(const Batch& batch, int64_t s) {
  const auto begin = static_cast<size_t>(batch.query_start[static_cast<size_t>(s)]);
  const auto end = static_cast<size_t>(batch.query_start[static_cast<size_t>(s) + 1]);
  if (begin == end) return report("a range without tokens");
  const int64_t first = batch.positions[begin];
  if (batch.positions[end - 1] + 1 != batch.context_len[static_cast<size_t>(s)]) {
    report("context_len is not the end of the range");
  }
  uint64_t prefix = kEmptyPrefix;
  for (size_t g = 0; g < cells_.size() && first > 0; ++g) {
    const Cell* before = cell(batch, g, s, first - 1);
    if (before == nullptr) return;
    if (g > 0 && before->prefix != prefix) report("two groups disagree about the prefix");
    prefix = before->prefix;
  }
  for (size_t t = begin; t < end; ++t) {
    const int64_t position = first + static_cast<int64_t>(t - begin);
    if (batch.positions[t] != position) report("positions of a range do not follow one another");
    prefix = extend(prefix, batch.token_ids[t]);
    prefixes_[t] = prefix;
    for (size_t g = 0; g < cells_.size(); ++g) {
      Cell* at = cell(batch, g, s, position);
      if (at == nullptr) return;
      *at = {prefix, batch.token_ids[t], static_cast<int32_t>(position)};
    }
  }
}

void HashExecutor::check_attended(const Batch& batch, int64_t s) {
  const auto begin = static_cast<size_t>(batch.query_start[static_cast<size_t>(s)]);
  const int64_t end = batch.context_len[static_cast<size_t>(s)];
  for (size_t g = 0; g < cells_.size(); ++g) {
    const int64_t window = options_.groups[g].window;
    const int64_t reach =
        window == 0 ? 0 : std::max<int64_t>(0, batch.positions[begin] - window + 1);
    uint64_t prefix = kEmptyPrefix;
    for (int64_t position = reach; position < end; ++position) {
      const Cell* at = cell(batch, g, s, position);
      if (at == nullptr) return;
      const bool continues =
          (position == reach && reach > 0) || at->prefix == extend(prefix, at->token_id);
      if (at->position != position || !continues) {
        return report(cat("range ", s, ", group ", g, ": what is stored at position ", position,
                          " does not continue the tokens before it"));
      }
      prefix = at->prefix;
    }
  }
}

Ticket HashExecutor::submit(const Batch& batch) {
  check_limits(batch);
  if (violation_) return ++last_ticket_;
  // All are written before any is read: then two that write one block are caught.
  for (int64_t s = 0; s < batch.num_sequences(); ++s) append(batch, s);
  for (int64_t s = 0; s < batch.num_sequences() && !violation_; ++s) check_attended(batch, s);

  const auto vocab = static_cast<size_t>(options_.vocab_size);
  for (size_t i = 0; i < batch.wishes.size(); ++i) {
    const RowWish& wish = batch.wishes[i];
    const std::span<float> row(logits_.data() + i * vocab, vocab);
    fill_logits(prefixes_[static_cast<size_t>(wish.row)], row);
    best_spans_[i] = {};
    if (wish.what == RowWish::What::kArgMax) {
      const auto best = std::ranges::max_element(row);
      best_[i] = {static_cast<int32_t>(best - row.begin()), *best};
      best_spans_[i] = std::span(&best_[i], 1);
    }
  }
  result_.logits = {logits_.data(), static_cast<int64_t>(batch.wishes.size()), options_.vocab_size,
                    options_.vocab_size};
  result_.best = std::span(best_spans_).first(batch.wishes.size());
  return ++last_ticket_;
}

const StepResult& HashExecutor::wait(Ticket ticket) {
  ENSURE(ticket == last_ticket_);
  return result_;
}

void HashExecutor::copy_blocks(int32_t group, std::span<const int32_t> from,
                               std::span<const int32_t> to) {
  std::vector<Cell>& cells = cells_[static_cast<size_t>(group)];
  for (size_t i = 0; i < from.size(); ++i) {
    std::copy_n(cells.begin() + std::ptrdiff_t{from[i]} * kKvBlockTokens, kKvBlockTokens,
                cells.begin() + std::ptrdiff_t{to[i]} * kKvBlockTokens);
  }
}

}  // namespace quern
