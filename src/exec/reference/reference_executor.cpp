#include "exec/reference/reference_executor.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

namespace quern {

namespace {

/// The keys and values of one layer: per token of each block, keys [Hk * Dh] then values.
struct LayerCache {
  int32_t group = 0;
  int64_t width = 0;  // Hk * Dh
  std::vector<float> values;

  float* token(int32_t block, int64_t slot) {
    return values.data() + (block * int64_t{kKvBlockTokens} + slot) * 2 * width;
  }
};

class ReferenceExecutor final : public Executor, private ReferenceContext {
 public:
  ReferenceExecutor(const Program& program, const WeightTypes& types, const WeightSource& source,
                    const ExecShape& shape, const ExecOptions& options)
      : program_(program), kv_dtype_(shape.kv_dtype) {
    load_weights(types, source, options);
    const int64_t rows = std::max(shape.max_step_tokens(), shape.max_wanted_rows);
    for (const BufferDecl& buffer : program.buffers) {
      const bool wanted = buffer.rows == BufferDecl::Rows::kWanted;
      buffers_.emplace_back(
          static_cast<size_t>((wanted ? shape.max_wanted_rows : rows) * buffer.width));
    }
    for (const KvLayer& layer : program.kv_layers) {
      const int64_t blocks = shape.kv_blocks[static_cast<size_t>(layer.group)];
      caches_.push_back({.group = layer.group,
                         .width = layer.num_key_value_heads * layer.head_dim,
                         .values = std::vector<float>(static_cast<size_t>(
                             blocks * kKvBlockTokens * layer.values_per_token()))});
    }
    best_.reserve(static_cast<size_t>(shape.max_wanted_rows));
    order_.resize(static_cast<size_t>(program.vocab_size));
  }

  const Capabilities& capabilities() const override { return capabilities_; }

  Ticket submit(const Batch& batch) override {
    batch_ = &batch;
    wanted_.clear();
    for (const RowWish& wish : batch.wishes) wanted_.push_back(wish.row);
    sequence_of_.clear();
    for (int64_t s = 0; s < batch.num_sequences(); ++s) {
      const auto i = static_cast<size_t>(s);
      for (int32_t t = batch.query_start[i]; t < batch.query_start[i + 1]; ++t) {
        sequence_of_.push_back(s);
      }
    }
    ENSURE(static_cast<int64_t>(sequence_of_.size()) == batch.num_tokens());
    for (const Step& step : program_.steps) run_reference(step, *this);
    collect(batch);
    batch_ = nullptr;
    return ++ticket_;
  }

  const StepResult& wait(Ticket ticket) override {
    ENSURE(ticket == ticket_, "only the last step can be waited for");
    return result_;
  }

  void copy_blocks(int32_t group, std::span<const int32_t> from,
                   std::span<const int32_t> to) override {
    for (LayerCache& cache : caches_) {
      if (cache.group != group) continue;
      for (size_t i = 0; i < from.size(); ++i) {
        const float* source = cache.token(from[i], 0);
        std::copy(source, source + kKvBlockTokens * 2 * cache.width, cache.token(to[i], 0));
      }
    }
  }

 private:
  void load_weights(const WeightTypes& types, const WeightSource& source,
                    const ExecOptions& options) {
    int64_t all = 0, done = 0;
    for (const WeightDecl& decl : program_.weights) all += decl.num_values();
    std::vector<std::byte> packed;
    for (size_t i = 0; i < program_.weights.size(); ++i) {
      const WeightDecl& decl = program_.weights[i];
      const WeightId id{static_cast<int32_t>(i)};
      std::vector<float>& values = weights_.emplace_back(static_cast<size_t>(decl.num_values()));
      source.decode_rows(id, 0, {values.data(), decl.rows, decl.cols, decl.cols});
      // Rounding to the asked type and back; a stored row of that type is already exact.
      if (const DType dtype = types[id]; dtype != source.stored_dtype(id)) {
        packed.resize(static_cast<size_t>(dtype.row_bytes(decl.cols)));
        for (int64_t r = 0; r < decl.rows; ++r) {
          const std::span<float> row(values.data() + r * decl.cols, static_cast<size_t>(decl.cols));
          dtype.encode_row(row, packed.data());
          dtype.decode_row(packed.data(), row);
        }
      }
      source.release(id);
      done += decl.num_values();
      if (options.progress) options.progress(static_cast<double>(done) / static_cast<double>(all));
    }
  }

  // ReferenceContext
  Matrix<float> rows(const Slot& slot) override {
    const BufferDecl& buffer = program_.buffer(slot);
    const bool wanted = buffer.rows == BufferDecl::Rows::kWanted;
    float* data = buffers_[static_cast<size_t>(slot.buffer)].data() + slot.begin;
    return {data, wanted ? static_cast<int64_t>(wanted_.size()) : batch_->num_tokens(), slot.width,
            buffer.width};
  }
  Matrix<const float> matrix(WeightId weight) override {
    const WeightDecl& decl = program_.weight(weight);
    return {weights_[static_cast<size_t>(weight.index)].data(), decl.rows, decl.cols, decl.cols};
  }
  std::span<const float> vector(WeightId weight) override {
    return weights_[static_cast<size_t>(weight.index)];
  }
  const Rope& rope(int32_t index) const override {
    return program_.ropes[static_cast<size_t>(index)];
  }
  const KvLayer& kv_layer(int32_t layer) const override {
    return program_.kv_layers[static_cast<size_t>(layer)];
  }
  std::span<const int32_t> token_ids() const override { return batch_->token_ids; }
  std::span<const int32_t> positions() const override { return batch_->positions; }
  std::span<const int32_t> wanted_rows() const override { return wanted_; }

  float* cached(int32_t layer, int64_t row, int64_t position) {
    LayerCache& cache = caches_[static_cast<size_t>(layer)];
    const BlockTable& table = batch_->block_tables[static_cast<size_t>(cache.group)];
    const int32_t block = table.block(sequence_of_[static_cast<size_t>(row)], position);
    ENSURE(block != kNoBlock, "position ", position, " has left the window");
    return cache.token(block, position % kKvBlockTokens);
  }
  void append(int32_t layer, int64_t row, std::span<const float> k,
              std::span<const float> v) override {
    const int32_t position = batch_->positions[static_cast<size_t>(row)];
    float* out = cached(layer, row, position);
    round_to_cache(k, out);
    round_to_cache(v, out + k.size());
  }
  std::span<const float> key(int32_t layer, int64_t row, int64_t position) override {
    const auto width = static_cast<size_t>(caches_[static_cast<size_t>(layer)].width);
    return {cached(layer, row, position), width};
  }
  std::span<const float> value(int32_t layer, int64_t row, int64_t position) override {
    const auto width = static_cast<size_t>(caches_[static_cast<size_t>(layer)].width);
    return {cached(layer, row, position) + width, width};
  }

  void round_to_cache(std::span<const float> in, float* out) {
    rounded_.resize(static_cast<size_t>(kv_dtype_.row_bytes(static_cast<int64_t>(in.size()))));
    saturated_.assign(in.begin(), in.end());
    const float bound = kv_bound(kv_dtype_);
    for (float& x : saturated_) x = std::clamp(x, -bound, bound);
    kv_dtype_.encode_row(saturated_, rounded_.data());
    kv_dtype_.decode_row(rounded_.data(), {out, in.size()});
  }

  void collect(const Batch& batch) {
    result_.logits = rows(program_.logits);
    best_.clear();
    best_spans_.clear();
    size_t needed = 0;
    for (const RowWish& wish : batch.wishes) needed += static_cast<size_t>(best_of(wish));
    best_.reserve(needed);  // so that the spans stay where they are
    for (size_t i = 0; i < batch.wishes.size(); ++i) {
      const auto count = best_of(batch.wishes[i]);
      const float* logits = result_.logits.row(static_cast<int64_t>(i));
      std::iota(order_.begin(), order_.end(), 0);
      std::partial_sort(order_.begin(), order_.begin() + count, order_.end(),
                        [&](int32_t a, int32_t b) {
                          return logits[a] != logits[b] ? logits[a] > logits[b] : a < b;
                        });
      const TokenLogit* first = best_.data() + best_.size();
      for (int32_t j = 0; j < count; ++j) {
        const int32_t id = order_[static_cast<size_t>(j)];
        best_.push_back({id, logits[id]});
      }
      best_spans_.emplace_back(first, static_cast<size_t>(count));
    }
    result_.best = best_spans_;
  }

  int32_t best_of(const RowWish& wish) const {
    switch (wish.what) {
      case RowWish::What::kLogits:
        return 0;
      case RowWish::What::kArgMax:
        return 1;
      case RowWish::What::kTopK:
        return std::min(wish.k, static_cast<int32_t>(program_.vocab_size));
    }
    return 0;
  }

  const Program program_;
  const DType kv_dtype_;
  const Capabilities capabilities_{};
  std::vector<std::vector<float>> weights_;  // by WeightId
  std::vector<std::vector<float>> buffers_;  // by Slot::buffer
  std::vector<LayerCache> caches_;           // by layer

  const Batch* batch_ = nullptr;
  std::vector<int32_t> wanted_;
  std::vector<int64_t> sequence_of_;  // of each row
  std::vector<std::byte> rounded_;
  std::vector<float> saturated_;
  std::vector<int32_t> order_;
  std::vector<TokenLogit> best_;
  std::vector<std::span<const TokenLogit>> best_spans_;
  StepResult result_;
  Ticket ticket_ = 0;
};

MemoryNeed reference_need(const Program& program, const WeightTypes&, const ExecShape& shape,
                          const ExecOptions&) {
  MemoryNeed need;
  int64_t largest = 0;
  for (const WeightDecl& weight : program.weights) {
    need.weights += 4 * weight.num_values();
    largest = std::max(largest, weight.cols);
  }
  for (const KvLayer& layer : program.kv_layers) {
    need.kv += 4 * shape.kv_blocks[static_cast<size_t>(layer.group)] * kKvBlockTokens *
               layer.values_per_token();
  }
  const int64_t rows = std::max(shape.max_step_tokens(), shape.max_wanted_rows);
  for (const BufferDecl& buffer : program.buffers) {
    const bool wanted = buffer.rows == BufferDecl::Rows::kWanted;
    need.work += 4 * (wanted ? shape.max_wanted_rows : rows) * buffer.width;
  }
  need.work += 8 * largest + 4 * program.vocab_size + 16 * rows + 4 * shape.max_model_len;
  return need;
}

Result<void> reference_check(const Program& program, const WeightTypes&, DType kv_dtype,
                             const ExecOptions& options) {
  RETURN_IF_ERROR(check_kv_heads(program, kv_dtype));
  if (options.isa != "auto") {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat("--isa ", options.isa,
                                ": the reference executor has no instruction set levels; leave "
                                "the flag out or use --executor cpu"),
                 .what = "--isa",
                 .found = options.isa,
                 .wanted = "auto"};
  }
  if (!options.weight_cache.empty()) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message = cat("--weight-cache ", options.weight_cache.string(),
                                ": the reference executor packs no weights; leave the flag out or "
                                "use --executor cpu"),
                 .what = "--weight-cache",
                 .found = options.weight_cache.string(),
                 .wanted = "off"};
  }
  if (options.activations == Activations::kInt8) {
    return Error{.code = ErrorCode::kUnsupported,
                 .message =
                     "--activations int8: the reference executor computes in f32 only; use "
                     "--executor cpu",
                 .what = "--activations",
                 .found = "int8",
                 .wanted = "f32"};
  }
  return {};
}

Result<std::unique_ptr<Executor>> reference_load(const Program& program, const WeightTypes& types,
                                                 const WeightSource& source, const ExecShape& shape,
                                                 const ExecOptions& options) {
  return std::unique_ptr<Executor>(
      std::make_unique<ReferenceExecutor>(program, types, source, shape, options));
}

}  // namespace

const ExecutorKind kReferenceExecutor = {"reference", reference_check, reference_need,
                                         reference_load};

}  // namespace quern
