#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

#include "base/ensure.h"

namespace quern {

/// What went wrong, in the words of the public contract. Each code has one exit status.
enum class ErrorCode {
  kInternal,     // 1  our own bug
  kUsage,        // 2  unknown command or flag, bad value
  kNotFound,     // 3  model, file, shard, tokenizer missing
  kBadFile,      // 4  malformed, truncated, inconsistent or hostile file
  kUnsupported,  // 5  architecture, dtype, executor, ISA level
  kDoesNotFit,   // 6  context or memory
  kBadInput,     // 7  prompt, messages, template, token id
  kCheckFailed,  // 8  verify mismatch, invalid benchmark
  kSystem,       // 9  disk full, permission, port in use
  kOverloaded,   // 6  would fit, but not now: too much is being answered; try again later
};

/// The name in `error.code` of JSON output ("bad_file").
std::string_view error_code_name(ErrorCode code);
/// The exit status of a command that ends with this code (1 to 9).
int exit_status(ErrorCode code);

/// A failure the outside caused. `message` is one whole sentence for a person who has nothing
/// else: the culprit, what was found, what was wanted, what to do next. The four parts repeat it
/// for programs where they are known.
struct Error {
  ErrorCode code = ErrorCode::kInternal;
  std::string message;
  std::optional<std::string> what = std::nullopt;      // the culprit: a file, a flag, a field
  std::optional<std::string> found = std::nullopt;     // what was there
  std::optional<std::string> wanted = std::nullopt;    // what should have been there
  std::optional<std::string> try_next = std::nullopt;  // what to do
};

/// The same error, its message led by "context: ".
Error with_context(Error error, std::string_view context);

/// A value or an Error; the member names are those of std::expected.
template <typename T>
class [[nodiscard]] Result {
 public:
  using value_type = T;

  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}      // NOLINT: by design
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}  // NOLINT: by design

  bool has_value() const { return state_.index() == 0; }
  explicit operator bool() const { return has_value(); }

  T& value() & {
    ENSURE(has_value(), "value() of an error: ", error_message());
    return *std::get_if<0>(&state_);
  }
  const T& value() const& {
    ENSURE(has_value(), "value() of an error: ", error_message());
    return *std::get_if<0>(&state_);
  }
  T&& value() && {
    ENSURE(has_value(), "value() of an error: ", error_message());
    return std::move(*std::get_if<0>(&state_));
  }
  T& operator*() & { return value(); }
  const T& operator*() const& { return value(); }
  T&& operator*() && { return std::move(*this).value(); }
  T* operator->() { return &value(); }
  const T* operator->() const { return &value(); }

  const Error& error() const& {
    ENSURE(!has_value());
    return *std::get_if<1>(&state_);
  }
  Error&& error() && {
    ENSURE(!has_value());
    return std::move(*std::get_if<1>(&state_));
  }

 private:
  std::string error_message() const {
    return has_value() ? std::string() : std::get_if<1>(&state_)->message;
  }

  std::variant<T, Error> state_;
};

/// Success without a value, or an Error.
template <>
class [[nodiscard]] Result<void> {
 public:
  using value_type = void;

  Result() = default;
  Result(Error error) : error_(std::move(error)) {}  // NOLINT: by design

  bool has_value() const { return !error_.has_value(); }
  explicit operator bool() const { return has_value(); }
  const Error& error() const& {
    ENSURE(!has_value());
    return *error_;
  }
  Error&& error() && {
    ENSURE(!has_value());
    return std::move(*error_);
  }

 private:
  std::optional<Error> error_;
};

}  // namespace quern

#define QUERN_CONCAT_INNER(a, b) a##b
#define QUERN_CONCAT(a, b) QUERN_CONCAT_INNER(a, b)

/// Returns the error of `expression` (a Result) from the enclosing function, if it has one.
#define RETURN_IF_ERROR(expression)                                   \
  do {                                                                \
    if (auto quern_result = (expression); !quern_result) [[unlikely]] \
      return std::move(quern_result).error();                         \
  } while (false)

/// Declares or assigns `target` from a Result, or returns its error.
#define ASSIGN_OR_RETURN(target, ...) \
  QUERN_ASSIGN_OR_RETURN(QUERN_CONCAT(quern_result_, __COUNTER__), target, __VA_ARGS__)
#define QUERN_ASSIGN_OR_RETURN(result, target, ...) \
  auto result = (__VA_ARGS__);                      \
  if (!result) [[unlikely]]                         \
    return std::move(result).error();               \
  target = std::move(result).value()
