#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "text/template/template.h"
#include "text/template/value.h"

namespace quern::jinja {

/// What one rendering owns and may use: its objects, the account of its memory, its fuel, its first
/// failure. Operations return a value even when they fail and record the failure here; whoever runs
/// them asks failed() before going on. One object, one thread, one rendering.
class Runtime {
 public:
  Runtime(const RenderOptions& options, const std::vector<std::string>& names);
  ~Runtime();
  Runtime(const Runtime&) = delete;
  Runtime& operator=(const Runtime&) = delete;

  // --- failure
  /// Records the first failure and returns an undefined value.
  Value fail(std::string message);
  bool failed() const { return failed_; }
  const std::string& failure() const { return failure_; }

  // --- fuel
  /// Pays for work in proportion to its size; fails once the steps or the time are used up.
  void spend(int64_t steps) {
    steps_ += steps;
    if (steps_ >= next_check_) check_fuel();
  }
  /// Pays for touching that many bytes.
  void spend_bytes(size_t bytes) { spend(1 + static_cast<int64_t>(bytes / 64)); }
  int64_t steps() const { return steps_; }
  int depth_limit() const { return limits_.depth; }

  // --- memory
  /// Whether that many more bytes may be taken; fails otherwise. Ask before building something
  /// whose size the template chooses.
  bool reserve(int64_t bytes);
  bool reserve_items(int64_t count) {
    const auto size = static_cast<int64_t>(sizeof(Value));
    return reserve(count < (int64_t{1} << 40) ? count * size : INT64_MAX);
  }
  /// Counts memory that the rendering holds outside of values until it ends.
  void charge(int64_t bytes);

  Value text(TracedText content, bool markup = false);
  Value text(std::string_view content) { return text(TracedText(content)); }
  Value list(Type type, std::vector<Value> items);
  Value range(int64_t start, int64_t stop, int64_t step);
  DictObject* new_dict();
  template <typename T>
  T* make() {
    auto owned = std::make_unique<T>();
    T* object = owned.get();
    objects_.push_back(std::move(owned));
    charge(static_cast<int64_t>(sizeof(T)) + kObjectOverhead);
    return object;
  }

  // --- names
  std::string_view name(int32_t id) const {
    return id < 0 ? std::string_view() : std::string_view(names_[static_cast<size_t>(id)]);
  }

  CivilTime now() const { return now_; }

 private:
  static constexpr int64_t kObjectOverhead = 32;  // of the allocator and the list of objects
  static constexpr int64_t kCheckEvery = 4096;

  void check_fuel();

  MemoryAccount account_;
  TemplateLimits limits_;
  const Clock& clock_;
  int64_t deadline_ns_ = 0;
  int64_t steps_ = 0;
  int64_t next_check_ = 0;
  bool failed_ = false;
  std::string failure_;
  CivilTime now_;
  const std::vector<std::string>& names_;
  std::vector<std::unique_ptr<Object>> objects_;
};

/// Builds a text within the limits of a rendering: it stops growing once the rendering has failed.
class TextBuilder {
 public:
  explicit TextBuilder(Runtime& runtime) : runtime_(runtime) {}

  size_t size() const { return text_.size(); }
  void append(std::string_view bytes, Origin origin = Origin::kTemplate) {
    if (pay(bytes.size())) text_.append(bytes, origin);
  }
  void append(const TracedText& other) {
    if (pay(other.size())) text_.append(other);
  }
  void append(const TracedText& other, size_t begin, size_t end) {
    if (pay(end - begin)) text_.append(other, begin, end);
  }
  Value finish(bool markup = false) { return runtime_.text(std::move(text_), markup); }
  TracedText take() { return std::move(text_); }

 private:
  bool pay(size_t bytes) {
    runtime_.spend(1 + static_cast<int64_t>(bytes / 64));
    return runtime_.reserve(static_cast<int64_t>(text_.size() + bytes));
  }

  Runtime& runtime_;
  TracedText text_;
};

/// What went wrong with an undefined value ("'name' is undefined").
std::string describe_absence(const Runtime& runtime, const Value& undefined);
/// Fails because an operation met an undefined value.
Value fail_undefined(Runtime& runtime, const Value& undefined);

}  // namespace quern::jinja
