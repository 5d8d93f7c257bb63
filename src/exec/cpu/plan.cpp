#include "exec/cpu/plan.h"

#include <algorithm>
#include <numeric>

#include "base/ensure.h"
#include "exec/cpu/arena.h"

namespace quern::cpu {

namespace {

/// First and last step at which a buffer is in use.
struct Lifetime {
  int64_t first = INT64_MAX;
  int64_t last = -1;

  bool meets(const Lifetime& other) const { return first <= other.last && other.first <= last; }
};

class LifetimeScan {
 public:
  explicit LifetimeScan(const Program& program) : lifetimes_(program.buffers.size()) {
    for (size_t i = 0; i < program.steps.size(); ++i) {
      now_ = static_cast<int64_t>(i);
      visit_operands(program.steps[i], *this);
    }
    // The logits are read after the last step.
    now_ = static_cast<int64_t>(program.steps.size());
    if (program.logits.valid()) touch(program.logits);
  }
  void input(const Slot& slot) { touch(slot); }
  void output(const Slot& slot) { touch(slot); }
  void weight(const WeightId&) {}
  const std::vector<Lifetime>& lifetimes() const { return lifetimes_; }

 private:
  void touch(const Slot& slot) {
    if (!slot.valid()) return;
    Lifetime& lifetime = lifetimes_[static_cast<size_t>(slot.buffer)];
    lifetime.first = std::min(lifetime.first, now_);
    lifetime.last = std::max(lifetime.last, now_);
  }

  std::vector<Lifetime> lifetimes_;
  int64_t now_ = 0;
};

int64_t buffer_rows(const BufferDecl& buffer, const ExecShape& shape) {
  return buffer.rows == BufferDecl::Rows::kWanted ? shape.max_wanted_rows : shape.max_step_tokens();
}

/// Places buffers, largest first, at the lowest offset that no buffer of an overlapping lifetime
/// holds. Returns the bytes of all of them together.
int64_t place_buffers(const Program& program, const ExecShape& shape, std::vector<int64_t>& out) {
  const LifetimeScan scan(program);
  const std::vector<Lifetime>& lifetimes = scan.lifetimes();
  const size_t count = program.buffers.size();
  std::vector<int64_t> bytes(count);
  for (size_t i = 0; i < count; ++i) {
    const BufferDecl& buffer = program.buffers[i];
    bytes[i] = (buffer_rows(buffer, shape) * buffer.width * 4 + 63) / 64 * 64;
  }
  std::vector<size_t> order(count);
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return bytes[a] > bytes[b]; });

  out.assign(count, 0);
  int64_t total = 0;
  std::vector<size_t> placed;  // by offset
  for (const size_t i : order) {
    if (lifetimes[i].last < 0) continue;  // nobody names it
    int64_t offset = 0;
    for (const size_t other : placed) {
      if (!lifetimes[i].meets(lifetimes[other])) continue;
      if (out[other] >= offset + bytes[i]) break;
      offset = std::max(offset, out[other] + bytes[other]);
    }
    out[i] = offset;
    total = std::max(total, offset + bytes[i]);
    placed.insert(std::upper_bound(placed.begin(), placed.end(), i,
                                   [&](size_t a, size_t b) { return out[a] < out[b]; }),
                  i);
  }
  return total;
}

/// What the products need besides weights: the largest of each over all steps.
struct FormSizes {
  int64_t values = 0;  // rows * cols
  int64_t pairs = 0;   // rows * ((cols + 1) / 2)
  int64_t filled = 0;  // rows * (cols rounded up to 64)
  int64_t rows = 1;
};

FormSizes form_sizes(const Program& program, const ExecShape& shape) {
  FormSizes sizes;
  const auto count = [&](const Slot& in) {
    const int64_t rows = buffer_rows(program.buffer(in), shape);
    sizes.values = std::max(sizes.values, rows * in.width);
    sizes.pairs = std::max(sizes.pairs, rows * ((in.width + 1) / 2));
    sizes.filled = std::max(sizes.filled, rows * ((in.width + 63) / 64 * 64));
    sizes.rows = std::max(sizes.rows, rows);
  };
  for (const Step& step : program.steps) {
    if (const auto* linear = std::get_if<Linear>(&step)) count(linear->in);
    if (const auto* head = std::get_if<Head>(&step)) count(head->in);
  }
  return sizes;
}

}  // namespace

Plan make_plan(const Program& program, const WeightTypes& types, const ExecShape& shape,
               Activations activations, int threads) {
  Plan plan;

  Places weights;
  // Forms that products may read.
  bool any_int8 = false, any_int8_rows = false, any_float = false, any_bf16 = false;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& decl = program.weights[i];
    if (decl.kind == WeightDecl::Kind::kVector) {
      plan.weights.push_back(weights.take(4 * decl.num_values()));
      continue;
    }
    const DType dtype = types[WeightId{static_cast<int32_t>(i)}];
    const std::optional<PanelLayout> layout = PanelLayout::of(dtype, decl.cols);
    ENSURE(layout.has_value(), "the executor's check() refuses such weights");
    plan.weights.push_back(weights.take(layout->matrix_bytes(decl.rows)));
    const bool is_float = dtype.is_float() || activations == Activations::kF32;
    any_int8 |= !is_float && !dtype.scales_rows();
    any_int8_rows |= !is_float && dtype.scales_rows();
    any_float |= is_float;
    any_bf16 |= dtype == DType::of<BF16>();
  }
  plan.weight_bytes = weights.total();

  // The layers of a group lie side by side in each of its blocks: a new block touches new pages in
  // one place, and not in one of each layer.
  std::vector<Places> blocks(shape.kv_blocks.size());
  int64_t head = 1, group = 1;
  for (const KvLayer& layer : program.kv_layers) {
    const int64_t keys = layer.num_key_value_heads * kv_head_bytes(shape.kv_dtype, layer.head_dim);
    const int64_t values =
        layer.num_key_value_heads * kv_head_bytes(shape.kv_dtype, padded_head(layer.head_dim));
    plan.kv_values_begin.push_back((keys + 63) / 64 * 64);
    plan.kv_in_block.push_back(
        blocks[static_cast<size_t>(layer.group)].take(plan.kv_values_begin.back() + values));
    head = std::max(head, layer.head_dim);
  }
  Places kv;
  for (size_t g = 0; g < blocks.size(); ++g) {
    plan.kv_block_bytes.push_back(blocks[g].bytes());
    plan.kv_groups.push_back(kv.take(plan.kv_block_bytes.back() * shape.kv_blocks[g]));
  }
  plan.kv_bytes = kv.total();
  int64_t position_width = 0;
  for (const Step& step : program.steps) {
    if (const auto* attend = std::get_if<Attend>(&step)) {
      const KvLayer& layer = program.kv_layers[static_cast<size_t>(attend->layer)];
      group = std::max(group, attend->q.width / layer.head_dim / layer.num_key_value_heads);
    }
    if (const auto* add = std::get_if<AddPositions>(&step)) {
      position_width = std::max(position_width, add->x.width);
    }
  }

  Places work;
  const int64_t buffers = work.take(place_buffers(program, shape, plan.buffers));
  for (int64_t& offset : plan.buffers) offset += buffers;
  for (const Rope& rope : program.ropes) {
    const auto half = static_cast<int64_t>(rope.inverse_frequencies.size());
    plan.ropes.push_back(work.take(shape.max_step_tokens() * half * 8));
  }
  const FormSizes forms = form_sizes(program, shape);
  if (any_int8) {
    plan.int8_q = work.take(forms.values);
    plan.int8_scale = work.take(forms.values / 32 * 4);
    plan.int8_neg_sum = work.take(forms.values / 32 * 4);
    plan.int8_neg_half_sum = work.take(forms.values / 16 * 4);
    plan.int8_scaled_sum = work.take(forms.values / 32 * 4);
  }
  if (any_int8_rows) {
    plan.int8_rows_q = work.take(forms.filled);
    plan.int8_rows_scale = work.take(forms.rows * 4);
    plan.int8_rows_neg_sum = work.take(forms.rows * 4);
  }
  if (any_float) plan.float_form = work.take(forms.values * 4);
  plan.position_row = work.take(position_width * 4);
  if (any_bf16) plan.pair_form = work.take(forms.pairs * 4);

  const int64_t tile_rows = std::max(kAttendTileRows, group);
  const int64_t head16 = padded_head(head);
  for (int worker = 0; worker < threads; ++worker) {
    plan.workers.push_back({
        .sums =
            work.take(4 * kMaxPanels * kPanelRows * std::max<int64_t>(forms.rows, kMaxTileWidth)),
        .keys = work.take(4 * kSoftmaxSegment * head),
        .values = work.take(4 * kSoftmaxSegment * head16),
        .state = work.take(4 * tile_rows * (head16 + 2)),
        .segment = work.take(4 * kMaxAttendRows * (head16 + 2)),
        .bounds = work.take(8 * tile_rows),
    });
  }
  // A slot holds the rows of one sequence and key/value head: largest, sum, values.
  plan.num_partials = threads > 1 ? 64 + 8 * int64_t{threads} : 0;
  plan.partial_floats = std::max(kDirectRows, group) * (head16 + 2);
  plan.partials = work.take(4 * plan.num_partials * plan.partial_floats);
  plan.best = work.take(static_cast<int64_t>(sizeof(TokenLogit)) * shape.max_wanted_rows *
                        std::min<int64_t>(kMaxBest, program.vocab_size));
  plan.work_bytes = work.total();

  // Stacks as touched, tables of a step, the Program itself, code and libraries.
  constexpr int64_t kProcess = int64_t{16} << 20, kStack = 128 << 10;
  plan.other_bytes = kProcess + threads * kStack + 16 * shape.max_step_tokens();
  return plan;
}

}  // namespace quern::cpu
