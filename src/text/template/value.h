#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ensure.h"
#include "text/template/traced_text.h"

namespace quern::jinja {

/// The values of a template. Numbers are held in place, texts are shared and counted, everything
/// else is an Object owned by the rendering: containers may hold each other in any shape, and
/// nothing is freed recursively.
enum class Type : uint8_t {
  kMissing,  // a slot that holds nothing, an argument that was not given; never seen by a template
  kUndefined,  // Jinja's Undefined: empty, false, an error in most operations
  kNone,
  kBool,
  kInteger,
  kFloat,
  kText,
  kList,
  kTuple,
  kGenerator,  // what filters such as map return: can be walked once, has no length
  kRange,
  kDict,
  kDictView,  // dict.keys(), dict.values(), dict.items()
  kNamespace,
  kMacro,
  kLoop,
  kFunction,  // a global function
  kMethod,    // a method together with its object
  kCycler,
  kJoiner,
};

/// The type in the words of a message ("a string").
std::string_view type_name(Type type);

/// Why a value is undefined, for the message of the operation that fails on it.
enum class Absence : uint8_t {
  kVariable,   // no variable of that name
  kMember,     // the object has no such attribute or key
  kElement,    // the list is shorter
  kParameter,  // a macro's parameter was not given
  kNoElse,     // an inline if without else
  kEmpty,      // first, last, min or max of nothing
  kUnsafe,     // the sandbox keeps it closed
  kNoItem,     // loop.previtem at the start, loop.nextitem at the end
};

/// Bytes in use by the values of a rendering.
struct MemoryAccount {
  int64_t used = 0;
};

struct Text {
  Text(TracedText content_in, bool markup_in, MemoryAccount* account_in)
      : content(std::move(content_in)), markup(markup_in), account(account_in) {
    charged = static_cast<int64_t>(sizeof(Text) + content.num_bytes());
    account->used += charged;
  }
  ~Text() { account->used -= charged; }
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;

  const TracedText content;
  const bool markup;  // marked as safe HTML: adding other text to it escapes that text
  int8_t ascii = -1;  // not known yet
  uint32_t num_owners = 0;
  int64_t charged = 0;
  MemoryAccount* account;
};

struct Object {
  virtual ~Object() = default;
};

struct ListObject;
struct RangeObject;
struct DictObject;
struct DictViewObject;
struct NamespaceObject;
struct MacroObject;
struct LoopObject;
struct MethodObject;
struct CyclerObject;
struct JoinerObject;

class Value {
 public:
  Value() = default;  // missing
  Value(const Value& other)
      : type_(other.type_), detail_(other.detail_), name_(other.name_), payload_(other.payload_) {
    if (type_ == Type::kText) ++payload_.text->num_owners;
  }
  Value(Value&& other) noexcept
      : type_(std::exchange(other.type_, Type::kMissing)),
        detail_(other.detail_),
        name_(other.name_),
        payload_(other.payload_) {}
  Value& operator=(const Value& other) {
    Value copy(other);
    swap(copy);
    return *this;
  }
  Value& operator=(Value&& other) noexcept {
    Value taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~Value() {
    if (type_ == Type::kText && --payload_.text->num_owners == 0) delete payload_.text;
  }

  static Value none() { return Value(Type::kNone); }
  static Value boolean(bool value) {
    Value out(Type::kBool);
    out.payload_.integer = value ? 1 : 0;
    return out;
  }
  static Value integer(int64_t value) {
    Value out(Type::kInteger);
    out.payload_.integer = value;
    return out;
  }
  static Value number(double value) {
    Value out(Type::kFloat);
    out.payload_.number = value;
    return out;
  }
  /// `name` is the id of the name that is not there or -1; `owner` what it was looked for in.
  static Value undefined(Absence why, int32_t name = -1, Type owner = Type::kMissing) {
    Value out(Type::kUndefined);
    out.detail_ = static_cast<uint8_t>(why);
    out.name_ = name;
    out.payload_.integer = static_cast<int64_t>(owner);
    return out;
  }
  static Value text(Text* text) {
    Value out(Type::kText);
    out.payload_.text = text;
    ++text->num_owners;
    return out;
  }
  static Value function(int32_t row) {
    Value out(Type::kFunction);
    out.payload_.integer = row;
    return out;
  }
  static Value object(Type type, Object* object) {
    Value out(type);
    out.payload_.object = object;
    return out;
  }

  Type type() const { return type_; }
  bool is(Type type) const { return type_ == type; }
  bool is_missing() const { return type_ == Type::kMissing; }
  bool is_undefined() const { return type_ == Type::kUndefined; }
  bool is_none() const { return type_ == Type::kNone; }
  bool is_text() const { return type_ == Type::kText; }
  /// An int in Python's eyes: True and False are.
  bool is_integral() const { return type_ == Type::kInteger || type_ == Type::kBool; }
  bool is_number() const { return is_integral() || type_ == Type::kFloat; }
  bool is_sequence_object() const {
    return type_ == Type::kList || type_ == Type::kTuple || type_ == Type::kGenerator;
  }

  bool as_bool() const { return payload_.integer != 0; }
  int64_t as_integer() const { return payload_.integer; }  // of a bool or an integer
  double as_number() const {
    return type_ == Type::kFloat ? payload_.number : static_cast<double>(payload_.integer);
  }
  Absence absence() const { return static_cast<Absence>(detail_); }
  int32_t absent_name() const { return name_; }
  Type absent_from() const { return static_cast<Type>(payload_.integer); }
  int32_t function_row() const { return static_cast<int32_t>(payload_.integer); }

  Text& text() const { return *payload_.text; }
  const TracedText& traced() const { return payload_.text->content; }
  const std::string& bytes() const { return payload_.text->content.bytes(); }
  bool is_markup() const { return type_ == Type::kText && payload_.text->markup; }

  Object* object() const { return payload_.object; }
  ListObject& list() const;  // of a list, tuple or generator
  RangeObject& range() const;
  DictObject& dict() const;
  DictViewObject& dict_view() const;
  NamespaceObject& namespace_object() const;
  MacroObject& macro() const;
  LoopObject& loop() const;
  MethodObject& method() const;
  CyclerObject& cycler() const;
  JoinerObject& joiner() const;

  /// The same object or the same plain value; Python's `is`.
  bool same_as(const Value& other) const {
    return type_ == other.type_ && (type_ == Type::kUndefined || type_ == Type::kNone ||
                                    payload_.integer == other.payload_.integer);
  }

 private:
  explicit Value(Type type) : type_(type) {}
  void swap(Value& other) noexcept {
    std::swap(type_, other.type_);
    std::swap(detail_, other.detail_);
    std::swap(name_, other.name_);
    std::swap(payload_, other.payload_);
  }

  union Payload {
    int64_t integer;
    double number;
    Text* text;
    Object* object;
  };

  Type type_ = Type::kMissing;
  uint8_t detail_ = 0;
  int32_t name_ = -1;
  Payload payload_ = {.integer = 0};
};
static_assert(sizeof(Value) == 16);

struct ListObject : Object {
  std::vector<Value> items;
  size_t position = 0;  // of a generator: how much of it is used up
};

struct RangeObject : Object {
  int64_t start = 0, stop = 0, step = 1;
  int64_t count = 0;
  /// The item of an index below `count`. On the way to it the product may leave 64 bits.
  int64_t at(int64_t index) const {
    return static_cast<int64_t>(static_cast<uint64_t>(start) +
                                static_cast<uint64_t>(index) * static_cast<uint64_t>(step));
  }
};

/// Keys and values in the order of insertion, found by hash. Never shrinks.
struct DictObject : Object {
  struct Entry {
    uint64_t hash;
    Value key, value;
  };
  std::vector<Entry> entries;
  std::vector<int32_t> buckets;  // indices into entries, -1 empty; only when there are many entries
};

struct DictViewObject : Object {
  enum class Part : uint8_t { kKeys, kValues, kItems };
  DictObject* dict = nullptr;
  Part part = Part::kKeys;
};

struct NamespaceObject : Object {
  DictObject* members = nullptr;
};

/// The slots of one call of a macro, or of the template itself; a macro made inside keeps it.
struct Activation : Object {
  Activation* outer = nullptr;
  std::vector<Value> slots;
};

struct MacroObject : Object {
  int32_t function = 0;
  Activation* outer = nullptr;
};

/// Walks through what can be iterated. It refers to the value, which may be a generator that other
/// iterators use up too.
struct Iterator {
  Value source;
  int64_t index = 0;
  size_t byte = 0;  // of a text
};

struct LoopObject : Object {
  Iterator iterator;
  int64_t index0 = -1;
  int64_t length = -1;  // not known yet
  int32_t depth0 = 0;
  bool completed = false;  // some iteration ran to its end: what `else` of a loop asks
  bool changed_called = false;
  Value current, previous, tried;
  std::vector<Value> last_changed;
  std::vector<Value> kept;  // by a filter that runs before the loop
};

struct MethodObject : Object {
  Value self;
  int32_t row = 0;  // in the methods of its type
};

struct CyclerObject : Object {
  std::vector<Value> items;
  size_t position = 0;
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

inline ListObject& Value::list() const { return *static_cast<ListObject*>(payload_.object); }
inline RangeObject& Value::range() const { return *static_cast<RangeObject*>(payload_.object); }
inline DictObject& Value::dict() const { return *static_cast<DictObject*>(payload_.object); }
inline DictViewObject& Value::dict_view() const {
  return *static_cast<DictViewObject*>(payload_.object);
}
inline NamespaceObject& Value::namespace_object() const {
  return *static_cast<NamespaceObject*>(payload_.object);
}
inline MacroObject& Value::macro() const { return *static_cast<MacroObject*>(payload_.object); }
inline LoopObject& Value::loop() const { return *static_cast<LoopObject*>(payload_.object); }
inline MethodObject& Value::method() const { return *static_cast<MethodObject*>(payload_.object); }
inline CyclerObject& Value::cycler() const { return *static_cast<CyclerObject*>(payload_.object); }
inline JoinerObject& Value::joiner() const { return *static_cast<JoinerObject*>(payload_.object); }

}  // namespace quern::jinja
