// What the register tiles of all products share.
#pragma once

#include <cstdint>

#include "exec/cpu/kernel_table.h"
#include "exec/cpu/kernels/vector.h"

namespace quern::cpu {
namespace {

constexpr int kLanes = 16;

/// The panels to be given in one call where a tile has `tile_panels`. Many tokens do not fit the
/// second-level cache with all their activations; what is read of them then serves many panels.
constexpr int panels_of_call(int64_t tokens, int tile_panels, int most_panels = kMaxPanels) {
  constexpr int64_t kManyTokens = 64;
  return tokens < kManyTokens ? tile_panels : most_panels;
}

template <int kNumber>
struct Number {
  static constexpr int kValue = kNumber;
};

/// Calls body(Number<g>()) for the eight groups of a block (panels.h), in ascending order.
template <typename Body>
inline __attribute__((always_inline)) void for_groups(const Body& body) {
  body(Number<0>()), body(Number<1>()), body(Number<2>()), body(Number<3>());
  body(Number<4>()), body(Number<5>()), body(Number<6>()), body(Number<7>());
}

/// The part of a call that is `count` panels from panel `first` on.
inline MultiplyArgs some_panels(const MultiplyArgs& args, int first, int count) {
  MultiplyArgs part;
  part.num_panels = count;
  part.x = args.x;
  part.sums = args.sums + first * kPanelRows;
  part.sums_stride = args.sums_stride;
  for (int m = 0; m < count; ++m) {
    part.panels[m] = args.panels[first + m];
    part.next_panels[m] = args.next_panels[first + m];
  }
  return part;
}

/// Calls body(panels) for all panels of a call, or where these are three for one and then two: no
/// tile has three.
template <typename Body>
inline void without_threes(const MultiplyArgs& args, const Body& body) {
  if (args.num_panels != 3) return body(args);
  body(some_panels(args, 0, 1));
  body(some_panels(args, 1, 2));
}

/// Spreads the reading ahead of the slice that comes next over the blocks of all tiles that pass
/// over this one. Memory is read while there is much to compute, and only as fast as needed.
class SliceAhead {
 public:
  /// `bytes` from each of `count` places on, in so many calls of read_some().
  SliceAhead(const std::byte* const* from, int count, int64_t bytes, int64_t portions)
      : from_(from), count_(count), bytes_(bytes) {
    portion_ = (bytes_ / 64 + portions - 1) / portions * 64;
  }
  void read_some() {
    const int64_t stop = at_ + portion_ < bytes_ ? at_ + portion_ : bytes_;
    for (; at_ < stop; at_ += 64) {
      for (int m = 0; m < count_; ++m) {
        _mm_prefetch(reinterpret_cast<const char*>(from_[m] + at_), _MM_HINT_T1);
      }
    }
  }

 private:
  const std::byte* const* from_;
  int count_;
  int64_t bytes_, portion_, at_ = 0;
};

/// How a call is cut: rows of `steps` steps into slices, and its panels `together` at a time. What
/// comes next is read ahead by each of the `tiles` that pass over a slice, once in `ahead_steps`.
struct Slicing {
  int64_t steps = 0;
  int64_t slice = 0;       // at most
  int64_t step_bytes = 0;  // of a panel's weights
  int together = 1;
  int64_t tiles = 1;
  int64_t ahead_steps = 0;  // that divides the slice; 0: nothing is read ahead
};

/// Steps of each slice but the last: slices as even as whole `ahead_steps` allow, because a short
/// one would leave little time to read ahead the long one after it.
constexpr int64_t slice_steps(const Slicing& cut) {
  if (cut.ahead_steps == 0) return cut.slice;
  const int64_t count = (cut.steps + cut.slice - 1) / cut.slice;
  const int64_t even = (cut.steps + count - 1) / count;
  return (even + cut.ahead_steps - 1) / cut.ahead_steps * cut.ahead_steps;
}

/// Calls body(panels, begin, end, ahead) for all panels of `args` over one slice, then over the
/// next: the activations of a slice stay in the second-level cache while all panels meet them, the
/// weights of a few panels in the first-level cache while all tokens pass over them.
template <typename Body>
inline void for_slices(const MultiplyArgs& args, const Slicing& cut, const Body& body) {
  const int64_t slice = slice_steps(cut);
  for (int64_t begin = 0; begin < cut.steps; begin += slice) {
    const int64_t end = begin + slice < cut.steps ? begin + slice : cut.steps;
    const int64_t turns =
        cut.ahead_steps == 0 ? 1 : (end - begin + cut.ahead_steps - 1) / cut.ahead_steps;
    for (int first = 0; first < args.num_panels; first += cut.together) {
      const auto panels_from = [&](int panel) {
        return args.num_panels - panel < cut.together ? args.num_panels - panel : cut.together;
      };
      const int next = first + cut.together;
      const std::byte* from[kMaxPanels];
      int count = 0;
      int64_t next_begin = begin, next_end = end;
      if (next < args.num_panels) {
        for (count = 0; count < panels_from(next); ++count) {
          from[count] = args.panels[next + count] + begin * cut.step_bytes;
        }
      } else {
        const bool same_panels = end < cut.steps;
        next_begin = same_panels ? end : 0;
        next_end = next_begin + slice < cut.steps ? next_begin + slice : cut.steps;
        for (count = 0; count < panels_from(0); ++count) {
          from[count] =
              same_panels ? args.panels[count] + end * cut.step_bytes : args.next_panels[count];
        }
      }
      SliceAhead ahead(from, count, (next_end - next_begin) * cut.step_bytes, cut.tiles * turns);
      body(some_panels(args, first, panels_from(first)), begin, end, ahead);
    }
  }
}

}  // namespace
}  // namespace quern::cpu
