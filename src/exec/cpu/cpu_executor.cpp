#include "exec/cpu/cpu_executor.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/cat.h"
#include "base/ensure.h"
#include "base/thread_pool.h"
#include "base/trace.h"
#include "exec/cpu/arena.h"
#include "exec/cpu/attention.h"
#include "exec/cpu/isa.h"
#include "exec/cpu/plan.h"
#include "exec/cpu/products.h"
#include "exec/cpu/weights.h"

namespace quern {

namespace {

using cpu::Arena;
using cpu::FinishArgs;
using cpu::KernelTable;
using cpu::Plan;

/// Values below which rows are not worth sharing among threads.
constexpr int64_t kWorthSharing = 16 << 10;

FinishArgs::Function function_of(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return FinishArgs::Function::kGelu;
    case Activation::kGeluTanh:
      return FinishArgs::Function::kGeluTanh;
    case Activation::kSilu:
      break;
  }
  return FinishArgs::Function::kSilu;
}

FinishArgs::Op op_of(Linear::Epilogue epilogue) {
  switch (epilogue) {
    case Linear::Epilogue::kNone:
      break;
    case Linear::Epilogue::kActivate:
      return FinishArgs::Op::kActivate;
    case Linear::Epilogue::kActivateGated:
      return FinishArgs::Op::kActivateGated;
    case Linear::Epilogue::kAdd:
      return FinishArgs::Op::kAdd;
  }
  return FinishArgs::Op::kStore;
}

int num_threads(const ExecOptions& options) {
  return options.threads > 0 ? options.threads : num_usable_cpus();
}

/// What load() has made before anything runs. Held apart so that everything that points into it
/// finds it where it stays.
struct Loaded {
  Program program;
  ExecShape shape;
  Plan plan;
  cpu::Isa isa;
  std::unique_ptr<ThreadPool> pool;
  cpu::Weights weights;
  Arena kv, work;
};

class CpuExecutor final : public Executor {
 public:
  CpuExecutor(Loaded loaded, const ExecOptions& options)
      : loaded_(std::move(loaded)),
        program_(loaded_.program),
        kernels_(cpu::kernel_table(loaded_.isa)),
        pool_(*loaded_.pool),
        trace_(options.trace),
        products_(kernels_, pool_, loaded_.work, loaded_.plan, options.activations),
        attention_(kernels_, pool_, loaded_.work, loaded_.kv, loaded_.plan, program_,
                   loaded_.shape) {
    capabilities_.max_ranges = loaded_.shape.max_num_seqs;
    size_t most_pieces = 1;
    for (const Step& step : program_.steps) {
      if (const auto* linear = std::get_if<Linear>(&step)) {
        most_pieces = std::max(most_pieces, linear->weights.size());
      }
    }
    pieces_.reserve(most_pieces);
    wanted_.reserve(static_cast<size_t>(loaded_.shape.max_wanted_rows));
    best_.reserve(static_cast<size_t>(loaded_.shape.max_wanted_rows));
    results_.reserve(static_cast<size_t>(loaded_.shape.max_wanted_rows));
  }

  static bool can_run(const Step& step) {
    return std::visit(
        []<typename S>(const S&) { return requires(CpuExecutor& e, const S& s) { e.run(s); }; },
        step);
  }

  const Capabilities& capabilities() const override { return capabilities_; }
  std::string isa() const override { return std::string(cpu::isa_name(loaded_.isa)); }
  int num_threads() const override { return pool_.num_threads(); }

  Ticket submit(const Batch& batch) override {
    ENSURE(batch.num_tokens() <= loaded_.shape.max_step_tokens(), "a step of ", batch.num_tokens(),
           " tokens");
    ENSURE(batch.num_sequences() <= loaded_.shape.max_num_seqs);
    ENSURE(static_cast<int64_t>(batch.wishes.size()) <= loaded_.shape.max_wanted_rows);
    ENSURE(batch.position_axes == 1);
    const TraceSpan whole(trace_, "step", batch.num_tokens());
    batch_ = &batch;
    wanted_.clear();
    for (const RowWish& wish : batch.wishes) wanted_.push_back(wish.row);
    products_.begin_step();
    attention_.begin_step(batch);
    turn_ropes();
    for (size_t i = 0; i < program_.steps.size(); ++i) {
      const Step& step = program_.steps[i];
      const TraceSpan span(trace_, step_name(step).data(), static_cast<int64_t>(i));
      std::visit(
          [&](const auto& s) {
            if constexpr (requires { run(s); }) run(s);
          },
          step);
      Forget forget{products_};
      visit_operands(step, forget);
    }
    collect();
    batch_ = nullptr;
    return ++ticket_;
  }

  const StepResult& wait(Ticket ticket) override {
    ENSURE(ticket == ticket_, "only the last step can be waited for");
    return result_;
  }

  void copy_blocks(int32_t group, std::span<const int32_t> from,
                   std::span<const int32_t> to) override {
    attention_.copy_blocks(group, from, to);
  }

 private:
  /// Tells the products which buffers a step has written.
  struct Forget {
    cpu::Products& products;
    void input(const Slot&) {}
    void weight(const WeightId&) {}
    void output(const Slot& slot) { products.forget(slot.buffer); }
  };

  Matrix<float> rows(const Slot& slot) const {
    const BufferDecl& buffer = program_.buffer(slot);
    const bool wanted = buffer.rows == BufferDecl::Rows::kWanted;
    auto* const data =
        loaded_.work.as<float>(loaded_.plan.buffers[static_cast<size_t>(slot.buffer)]);
    return {data + slot.begin, wanted ? static_cast<int64_t>(wanted_.size()) : batch_->num_tokens(),
            slot.width, buffer.width};
  }

  /// Calls body(begin, end) for all of [0, count) in chunks of rows of `width` values.
  template <typename Body>
  void for_rows(int64_t count, int64_t width, const Body& body) {
    const int64_t step = std::max<int64_t>(1, kWorthSharing / 4 / std::max<int64_t>(1, width));
    const int64_t chunks = count * width < kWorthSharing ? 1 : (count + step - 1) / step;
    if (chunks <= 1) return body(int64_t{0}, count);
    pool_.parallel_for(chunks, [&](int64_t chunk, int) {
      body(chunk * step, std::min(count, (chunk + 1) * step));
    });
  }

  /// Cosine and sine of every token's angles, once for all layers. The angle in float, the
  /// functions by libm, as the plain form of the step has them.
  void turn_ropes() {
    for (size_t r = 0; r < program_.ropes.size(); ++r) {
      const Rope& rope = program_.ropes[r];
      const auto half = static_cast<int64_t>(rope.inverse_frequencies.size());
      auto* const cosines = loaded_.work.as<float>(loaded_.plan.ropes[r]);
      float* const sines = cosines + loaded_.shape.max_step_tokens() * half;
      for_rows(batch_->num_tokens(), half * 16, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          const auto position = static_cast<float>(batch_->positions[static_cast<size_t>(t)]);
          for (int64_t j = 0; j < half; ++j) {
            const float angle = position * rope.inverse_frequencies[static_cast<size_t>(j)];
            cosines[t * half + j] = std::cos(angle) * rope.attention_scaling;
            sines[t * half + j] = std::sin(angle) * rope.attention_scaling;
          }
        }
      });
    }
  }

  void decode_row(const cpu::PackedMatrix& table, int64_t row, std::span<float> out) const {
    table.layout.decode_row(table.panel(row / cpu::kPanelRows),
                            static_cast<int>(row % cpu::kPanelRows), out);
  }

  void run(const Embed& step) {
    const Matrix<float> out = rows(step.out);
    const cpu::PackedMatrix& table = loaded_.weights.matrix(step.table);
    for_rows(out.rows, out.cols * 4, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        const int32_t id = batch_->token_ids[static_cast<size_t>(t)];
        ENSURE(id >= 0 && id < table.rows, "token id ", id, " of ", table.rows);
        decode_row(table, id, {out.row(t), static_cast<size_t>(out.cols)});
      }
    });
  }

  void run(const AddPositions& step) {
    const Matrix<float> x = rows(step.x);
    const cpu::PackedMatrix& table = loaded_.weights.matrix(step.table);
    auto* const row = loaded_.work.as<float>(loaded_.plan.position_row);
    for (int64_t t = 0; t < x.rows; ++t) {
      const int32_t position = batch_->positions[static_cast<size_t>(t)];
      ENSURE(position >= 0 && position < table.rows, "position ", position, " of ", table.rows);
      decode_row(table, position, {row, static_cast<size_t>(x.cols)});
      kernels_.add(x.row(t), x.row(t), row, x.cols);
    }
  }

  void run(const Norm& step) {
    const Matrix<float> out = rows(step.out);
    const Matrix<const float> in = rows(step.in);
    const cpu::NormArgs args{.is_layer_norm = step.kind == Norm::Kind::kLayer,
                             .eps = step.eps,
                             .weight_offset = step.weight_offset,
                             .weight = loaded_.weights.vector(step.weight),
                             .bias = loaded_.weights.vector(step.bias),
                             .width = in.cols};
    for_rows(in.rows, in.cols, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) kernels_.norm(args, out.row(t), in.row(t));
    });
  }

  void run(const Linear& step) {
    pieces_.clear();
    int64_t column = 0;
    for (size_t i = 0; i < step.weights.size(); ++i) {
      const cpu::PackedMatrix& matrix = loaded_.weights.matrix(step.weights[i]);
      pieces_.push_back({&matrix, loaded_.weights.vector(step.biases[i]), column});
      column += matrix.rows;
    }
    FinishArgs finish;
    finish.op = op_of(step.epilogue);
    finish.function = function_of(step.activation);
    const bool adds = step.epilogue == Linear::Epilogue::kAdd;
    const Matrix<float> out = rows(step.out);
    products_.run(step.in, rows(step.in), pieces_, finish, out, adds ? rows(step.add) : out);
  }

  void run(const Head& step) {
    pieces_.clear();
    pieces_.push_back({&loaded_.weights.matrix(step.weight), nullptr, 0});
    FinishArgs finish;
    finish.op = step.softcap > 0 ? FinishArgs::Op::kSoftCap : FinishArgs::Op::kStore;
    finish.softcap = step.softcap;
    const Matrix<float> out = rows(step.out);
    products_.run(step.in, rows(step.in), pieces_, finish, out, out);
  }

  void run(const Rotate& step) {
    const Rope& rope = program_.ropes[static_cast<size_t>(step.rope)];
    const auto half = static_cast<int64_t>(rope.inverse_frequencies.size());
    const auto* const cosines =
        loaded_.work.as<float>(loaded_.plan.ropes[static_cast<size_t>(step.rope)]);
    const float* const sines = cosines + loaded_.shape.max_step_tokens() * half;
    const auto turn = [&](const Slot& slot, WeightId norm) {
      const Matrix<float> x = rows(slot);
      const cpu::NormArgs args{.eps = step.eps,
                               .weight_offset = step.weight_offset,
                               .weight = loaded_.weights.vector(norm),
                               .width = step.head_dim};
      for_rows(x.rows, x.cols, [&](int64_t begin, int64_t end) {
        for (int64_t t = begin; t < end; ++t) {
          for (int64_t d = 0; d < x.cols; d += step.head_dim) {
            float* const head = x.row(t) + d;
            if (norm.valid()) kernels_.norm(args, head, head);
            kernels_.rotate(head, cosines + t * half, sines + t * half, half);
          }
        }
      });
    };
    turn(step.q, step.q_norm);
    turn(step.k, step.k_norm);
  }

  void run(const Append& step) { attention_.append(step.layer, rows(step.k), rows(step.v)); }

  void run(const Attend& step) { attention_.attend(step, rows(step.out), rows(step.q)); }

  void run(const Activate& step) {
    const Matrix<float> out = rows(step.out);
    const Matrix<const float> in = rows(step.in);
    const bool gated = step.form == Activate::Form::kGated;
    for_rows(out.rows, out.cols * 2, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        kernels_.activate(function_of(step.activation), out.row(t), in.row(t),
                          gated ? in.row(t) + out.cols : nullptr, out.cols);
      }
    });
  }

  void run(const Add& step) {
    const Matrix<float> out = rows(step.out);
    const Matrix<const float> a = rows(step.a), b = rows(step.b);
    for_rows(out.rows, out.cols, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) kernels_.add(out.row(t), a.row(t), b.row(t), out.cols);
    });
  }

  void run(const Scale& step) {
    const Matrix<float> x = rows(step.x);
    for_rows(x.rows, x.cols, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) kernels_.scale(x.row(t), step.factor, x.cols);
    });
  }

  void run(const GatherRows& step) {
    const Matrix<float> out = rows(step.out);
    const Matrix<const float> in = rows(step.in);
    for (int64_t r = 0; r < out.rows; ++r) {
      const float* const row = in.row(wanted_[static_cast<size_t>(r)]);
      std::copy_n(row, out.cols, out.row(r));
    }
  }

  /// The k best of a row, best first, ties to the lower id: the row is scanned for values above the
  /// worst one kept, which are few.
  void find_best(const float* logits, int64_t vocab, std::span<TokenLogit> best) const {
    const auto before = [](const TokenLogit& a, const TokenLogit& b) {
      return a.logit != b.logit ? a.logit > b.logit : a.token_id < b.token_id;
    };
    // NaN is below everything: such tokens come last, as -inf.
    const auto value = [&](int64_t i) { return std::isnan(logits[i]) ? -INFINITY : logits[i]; };
    const auto k = static_cast<int64_t>(best.size());
    for (int64_t i = 0; i < k; ++i)
      best[static_cast<size_t>(i)] = {static_cast<int32_t>(i), value(i)};
    std::make_heap(best.begin(), best.end(), before);  // the worst in front
    for (int64_t i = kernels_.next_above(logits, best[0].logit, k, vocab); i < vocab;
         i = kernels_.next_above(logits, best[0].logit, i + 1, vocab)) {
      std::pop_heap(best.begin(), best.end(), before);
      best.back() = {static_cast<int32_t>(i), logits[i]};
      std::push_heap(best.begin(), best.end(), before);
    }
    std::sort_heap(best.begin(), best.end(), before);
  }

  void collect() {
    best_.clear();
    result_.best = {};
    if (!program_.logits.valid()) return;
    result_.logits = rows(program_.logits);
    auto* next = loaded_.work.as<TokenLogit>(loaded_.plan.best);
    for (const RowWish& wish : batch_->wishes) {
      int64_t count = 0;
      if (wish.what == RowWish::What::kArgMax) count = 1;
      if (wish.what == RowWish::What::kTopK) {
        ENSURE(wish.k >= 0 && wish.k <= cpu::kMaxBest, "the ", wish.k, " best of a row");
        count = std::min<int64_t>(wish.k, program_.vocab_size);
      }
      best_.emplace_back(next, static_cast<size_t>(count));
      next += count;
    }
    results_.assign(best_.begin(), best_.end());
    const auto num_rows = static_cast<int64_t>(best_.size());
    for_rows(num_rows, program_.vocab_size, [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        const std::span<TokenLogit> best = best_[static_cast<size_t>(r)];
        const float* const logits = result_.logits.row(r);
        if (best.size() == 1) {
          const int64_t id = kernels_.arg_max(logits, program_.vocab_size);
          best[0] = {static_cast<int32_t>(id), logits[id]};
        } else if (!best.empty()) {
          find_best(logits, program_.vocab_size, best);
        }
      }
    });
    result_.best = results_;
  }

  Loaded loaded_;
  const Program& program_;
  const KernelTable& kernels_;
  ThreadPool& pool_;
  Trace* const trace_;
  Capabilities capabilities_;
  cpu::Products products_;
  cpu::Attention attention_;

  const Batch* batch_ = nullptr;
  std::vector<int32_t> wanted_;
  std::vector<cpu::ProductPiece> pieces_;
  std::vector<std::span<TokenLogit>> best_;
  std::vector<std::span<const TokenLogit>> results_;
  StepResult result_;
  Ticket ticket_ = 0;
};

MemoryNeed cpu_need(const Program& program, const WeightTypes& types, const ExecShape& shape,
                    const ExecOptions& options) {
  const Plan plan =
      cpu::make_plan(program, types, shape, options.activations, num_threads(options));
  return {.weights = plan.weight_bytes,
          .kv = plan.kv_bytes,
          .work = plan.work_bytes,
          .other = plan.other_bytes};
}

Result<void> check_kv_type(const Program& program, DType kv_dtype, cpu::Isa isa) {
  if (program.kv_layers.empty()) return {};
  const auto has = [&](DType dtype) {
    return cpu::kernel_table(isa).kv[dtype.index()].attend != nullptr;
  };
  if (has(kv_dtype)) return check_kv_heads(program, kv_dtype);
  std::string names;
  for (const DType dtype : DType::all()) {
    if (has(dtype)) names += cat(names.empty() ? "" : ", ", dtype.name());
  }
  return Error{.code = ErrorCode::kUnsupported,
               .message = cat("--kv-cache-dtype ", kv_dtype.name(),
                              ": the cpu executor does not keep keys and values in it, choose one "
                              "of ",
                              names),
               .what = "--kv-cache-dtype",
               .found = std::string(kv_dtype.name()),
               .wanted = names};
}

Result<void> cpu_check(const Program& program, const WeightTypes& types, DType kv_dtype,
                       const ExecOptions& options) {
  const auto isa = cpu::choose_isa(options.isa);
  if (!isa) return isa.error();
  for (const Step& step : program.steps) {
    if (!CpuExecutor::can_run(step)) {
      return Error{ErrorCode::kUnsupported, cat("step ", step_name(step),
                                                ": the cpu executor does not have it; run with "
                                                "--executor reference")};
    }
  }
  RETURN_IF_ERROR(check_kv_type(program, kv_dtype, *isa));
  bool any_block_weight = false;
  for (size_t i = 0; i < program.weights.size(); ++i) {
    const WeightDecl& decl = program.weights[i];
    if (decl.kind != WeightDecl::Kind::kMatrix) continue;
    const DType dtype = types[WeightId{static_cast<int32_t>(i)}];
    any_block_weight |= !dtype.is_float();
    if (!cpu::PanelLayout::of(dtype, decl.cols)) {
      return Error{ErrorCode::kUnsupported,
                   cat("weight ", decl.name, ": rows of ", decl.cols, " values as ", dtype.name(),
                       " cannot be packed for the CPU, choose another --dtype")};
    }
  }
  if (options.activations == Activations::kInt8 && !any_block_weight) {
    return Error{ErrorCode::kUsage,
                 "--activations int8: no weight is quantised, and activations are int8 only with "
                 "quantised weights; leave the flag out or choose --dtype q8_0 or q4_0"};
  }
  for (const Step& step : program.steps) {
    const auto* linear = std::get_if<Linear>(&step);
    if (linear == nullptr || linear->epilogue != Linear::Epilogue::kActivateGated) continue;
    if (linear->weights.size() == 2 &&
        program.weight(linear->weights[0]).rows == program.weight(linear->weights[1]).rows) {
      continue;
    }
    return Error{ErrorCode::kUnsupported,
                 cat("weight ", program.weight(linear->weights[0]).name,
                     ": a gated product needs its gate and its factor as two weights of equal "
                     "size; run with --no-fuse")};
  }
  return {};
}

Result<std::unique_ptr<Executor>> cpu_load(const Program& program, const WeightTypes& types,
                                           const WeightSource& source, const ExecShape& shape,
                                           const ExecOptions& options) {
  Loaded loaded{.program = program,
                .shape = shape,
                .plan = {},
                .isa = {},
                .pool = {},
                .weights = {},
                .kv = {},
                .work = {}};
  ASSIGN_OR_RETURN(loaded.isa, cpu::choose_isa(options.isa));
  const int threads = num_threads(options);
  loaded.plan = cpu::make_plan(program, types, shape, options.activations, threads);
  ASSIGN_OR_RETURN(loaded.kv, Arena::reserve(loaded.plan.kv_bytes, "keys and values"));
  ASSIGN_OR_RETURN(loaded.work, Arena::reserve(loaded.plan.work_bytes, "activations"));
  loaded.pool = std::make_unique<ThreadPool>(threads);
  ASSIGN_OR_RETURN(loaded.weights,
                   cpu::Weights::load(program, types, source, loaded.plan, *loaded.pool, options));
  return std::unique_ptr<Executor>(std::make_unique<CpuExecutor>(std::move(loaded), options));
}

}  // namespace

const ExecutorKind kCpuExecutor = {"cpu", cpu_check, cpu_need, cpu_load};

}  // namespace quern
