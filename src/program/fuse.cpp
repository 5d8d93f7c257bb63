#include "program/fuse.h"

#include <algorithm>
#include <utility>

#include "base/cat.h"

namespace quern {

namespace {

/// Whether any step from `first` on reads `slot`'s buffer before it is written again as a whole.
class ReadSearch {
 public:
  explicit ReadSearch(int32_t buffer) : buffer_(buffer) {}
  void input(const Slot& slot) { read_ |= slot.buffer == buffer_; }
  void output(const Slot&) {}
  void weight(const WeightId&) {}
  bool read() const { return read_; }

 private:
  int32_t buffer_;
  bool read_ = false;
};

class WriteSearch {
 public:
  explicit WriteSearch(const Slot& slot) : slot_(slot) {}
  void input(const Slot&) {}
  void output(const Slot& slot) {
    written_ |= slot.buffer == slot_.buffer && slot.begin <= slot_.begin &&
                slot.begin + slot.width >= slot_.begin + slot_.width;
  }
  void weight(const WeightId&) {}
  bool written() const { return written_; }

 private:
  Slot slot_;
  bool written_ = false;
};

bool read_later(const Program& program, const Slot& slot, size_t first) {
  for (size_t i = first; i < program.steps.size(); ++i) {
    ReadSearch reads(slot.buffer);
    visit_operands(program.steps[i], reads);
    if (reads.read()) return true;
    WriteSearch writes(slot);
    visit_operands(program.steps[i], writes);
    if (writes.written()) return false;
  }
  return false;
}

/// Products of one input that lie side by side in one buffer become one stacked product.
void stack(Program& program) {
  std::vector<Step> steps;
  for (Step& step : program.steps) {
    auto* next = std::get_if<Linear>(&step);
    auto* last = steps.empty() ? nullptr : std::get_if<Linear>(&steps.back());
    const bool joins = next != nullptr && last != nullptr && next->in == last->in &&
                       next->epilogue == Linear::Epilogue::kNone &&
                       last->epilogue == Linear::Epilogue::kNone &&
                       next->out.buffer == last->out.buffer &&
                       next->out.begin == last->out.begin + last->out.width;
    if (!joins) {
      steps.push_back(std::move(step));
      continue;
    }
    last->out.width += next->out.width;
    last->weights.insert(last->weights.end(), next->weights.begin(), next->weights.end());
    last->biases.insert(last->biases.end(), next->biases.begin(), next->biases.end());
  }
  program.steps = std::move(steps);
}

/// Replaces a plain product and the step right behind it, the only reader of its result, by one
/// product with an epilogue. `absorb` changes the product and says whether it could.
template <typename Follower, typename Absorb>
void join_epilogues(Program& program, const Absorb& absorb) {
  std::vector<Step> steps;
  for (size_t i = 0; i < program.steps.size(); ++i) {
    Step& step = program.steps[i];
    const auto* follower = std::get_if<Follower>(&step);
    auto* product = steps.empty() ? nullptr : std::get_if<Linear>(&steps.back());
    if (follower != nullptr && product != nullptr && product->epilogue == Linear::Epilogue::kNone &&
        !read_later(program, product->out, i + 1) && absorb(*product, *follower)) {
      continue;
    }
    steps.push_back(std::move(step));
  }
  program.steps = std::move(steps);
}

void activation(Program& program) {
  join_epilogues<Activate>(program, [](Linear& product, const Activate& act) {
    if (act.in != product.out) return false;
    product.epilogue = act.form == Activate::Form::kGated ? Linear::Epilogue::kActivateGated
                                                          : Linear::Epilogue::kActivate;
    product.activation = act.activation;
    product.out = act.out;
    return true;
  });
}

void residual(Program& program) {
  join_epilogues<Add>(program, [](Linear& product, const Add& add) {
    if (add.b != product.out || add.a == product.out) return false;
    product.epilogue = Linear::Epilogue::kAdd;
    product.add = add.a;
    product.out = add.out;
    return true;
  });
}

constexpr Fusion kFusions[] = {
    {"stack", "products of one input (q, k, v; gate, up) become one", stack},
    {"activation", "the activation, gated or not, ends the product before it", activation},
    {"residual", "the residual addition ends the product before it", residual},
};

/// Drops buffers that no step names any more and renumbers the rest.
void drop_unused_buffers(Program& program) {
  std::vector<int32_t> uses(program.buffers.size(), 0);
  const auto for_each_slot = [&](auto&& act) {
    struct Visitor {
      decltype(act)& on_slot;
      void input(Slot& slot) { on_slot(slot); }
      void output(Slot& slot) { on_slot(slot); }
      void weight(WeightId&) {}
    };
    for (Step& step : program.steps) visit_operands(step, Visitor{act});
  };
  for_each_slot([&](Slot& slot) { ++uses[static_cast<size_t>(slot.buffer)]; });
  std::vector<int32_t> renumbered(uses.size(), -1);
  std::vector<BufferDecl> kept;
  for (size_t i = 0; i < uses.size(); ++i) {
    if (uses[i] == 0) continue;
    renumbered[i] = static_cast<int32_t>(kept.size());
    kept.push_back(program.buffers[i]);
  }
  // A slot named twice by one step (in place) is visited twice: mark what is done.
  std::vector<Slot*> done;
  for_each_slot([&](Slot& slot) {
    if (std::find(done.begin(), done.end(), &slot) != done.end()) return;
    done.push_back(&slot);
    slot.buffer = renumbered[static_cast<size_t>(slot.buffer)];
  });
  program.logits.buffer = renumbered[static_cast<size_t>(program.logits.buffer)];
  program.buffers = std::move(kept);
}

}  // namespace

std::span<const Fusion> fusions() { return kFusions; }

Result<Program> fuse(Program program, const FuseOptions& options) {
  for (const std::string& name : options.off) {
    std::string known;
    for (const Fusion& fusion : kFusions) {
      known += cat(known.empty() ? "" : ", ", fusion.name);
    }
    if (std::ranges::none_of(kFusions, [&](const Fusion& f) { return f.name == name; })) {
      return Error{
          .code = ErrorCode::kUsage,
          .message = cat("--no-fuse: there is no fusion \"", name, "\"; there are: ", known),
          .what = "--no-fuse",
          .found = name,
          .wanted = known};
    }
  }
  if (!options.all_off) {
    for (const Fusion& fusion : kFusions) {
      const bool off = std::ranges::find(options.off, fusion.name) != options.off.end();
      if (!off) fusion.apply(program);
    }
  }
  drop_unused_buffers(program);
  check_program(program);
  return program;
}

}  // namespace quern
