#pragma once

#include <cstdint>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "text/template/syntax.h"

namespace quern::jinja {

/// A variable as the machine finds it: `hops` functions outwards, then the slot. Slot kNoId: not a
/// variable of the template at all, but one of the caller or a global function.
struct VariableRef {
  int32_t hops = 0;
  int32_t slot = kNoId;
};

/// How a slot starts when its scope is entered.
struct SlotStart {
  enum class From : uint8_t { kMissing, kGlobal, kOuter };
  From from = From::kMissing;
  int32_t slot = 0;
  NameId name = kNoId;  // kGlobal
  VariableRef outer;    // kOuter
};

/// Which variable a name means in which scope, by Jinja's own rules, which are not those of Python:
/// every for body, macro, with, set block and filter block has a scope that starts as a copy of
/// what is outside; `if` has none. A name assigned anywhere in a scope belongs to that scope in all
/// of it. The parser reports every use in source order; resolve() then decides all of them, outer
/// first.
class ScopeTable {
 public:
  /// The scope of the template itself is 0 and its function is 0.
  ScopeTable();

  ScopeId open(ScopeId parent);
  /// A scope that is the body of a macro, with slots of its own each time it is called.
  ScopeId open_function(ScopeId parent, int32_t function);

  /// The start and end of an `if`: what is only assigned inside it may also keep its outer value.
  void enter_branch(ScopeId scope) { ++scopes_[index(scope)].branches; }
  void leave_branch(ScopeId scope) { --scopes_[index(scope)].branches; }

  bool in_branch(ScopeId scope) const { return scopes_[index(scope)].branches > 0; }

  void load(ScopeId scope, NameId name);
  void store(ScopeId scope, NameId name);
  void declare(ScopeId scope, NameId name);  // a loop variable, a macro's parameter

  /// The names that a macro has without declaring them, and whether the body of a function, or what
  /// is made inside of it, mentions one.
  void watch(NameId name) { watched_.push_back(name); }
  bool mentions(int32_t function, NameId name) const;

  void resolve();

  /// After resolve():
  VariableRef find(ScopeId scope, NameId name) const;
  const std::vector<SlotStart>& starts(ScopeId scope) const { return scopes_[index(scope)].starts; }
  int32_t num_scopes() const { return static_cast<int32_t>(scopes_.size()); }
  int32_t num_slots(int32_t function) const { return slots_[index(function)]; }

 private:
  struct Use {
    bool used = false;       // read or written by now
    bool stored = false;     // anywhere in the scope
    bool parameter = false;  // starts with what the machine puts there
    bool starts_missing = false;
    int32_t slot = kNoId;
  };
  struct Scope {
    ScopeId parent = kNoId;
    int32_t function = 0;
    int32_t branches = 0;
    std::unordered_map<NameId, Use> uses;
    std::vector<NameId> order;  // of first use, so that slots do not depend on hashing
    std::vector<SlotStart> starts;
  };

  static size_t index(int32_t id) { return static_cast<size_t>(id); }
  Use& note(ScopeId scope, NameId name);

  std::vector<Scope> scopes_;
  std::vector<int32_t> slots_;  // by function
  std::vector<NameId> watched_;
  std::set<std::pair<int32_t, NameId>> mentions_;
};

}  // namespace quern::jinja
