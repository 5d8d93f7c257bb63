#include "text/template/scopes.h"

#include <algorithm>

namespace quern::jinja {

ScopeTable::ScopeTable() : scopes_(1), slots_(1, 0) {}

ScopeId ScopeTable::open(ScopeId parent) {
  Scope scope;
  scope.parent = parent;
  scope.function = scopes_[index(parent)].function;
  scopes_.push_back(std::move(scope));
  return static_cast<ScopeId>(scopes_.size()) - 1;
}

ScopeId ScopeTable::open_function(ScopeId parent, int32_t function) {
  const ScopeId scope = open(parent);
  scopes_[index(scope)].function = function;
  if (slots_.size() <= index(function)) slots_.resize(index(function) + 1, 0);
  return scope;
}

ScopeTable::Use& ScopeTable::note(ScopeId scope, NameId name) {
  Scope& in = scopes_[index(scope)];
  const auto [entry, is_new] = in.uses.try_emplace(name);
  if (is_new) in.order.push_back(name);
  return entry->second;
}

void ScopeTable::load(ScopeId scope, NameId name) {
  note(scope, name).used = true;
  if (std::find(watched_.begin(), watched_.end(), name) == watched_.end()) return;
  for (ScopeId at = scope; at != kNoId; at = scopes_[index(at)].parent) {
    mentions_.insert({scopes_[index(at)].function, name});
  }
}

bool ScopeTable::mentions(int32_t function, NameId name) const {
  return mentions_.contains({function, name});
}

void ScopeTable::store(ScopeId scope, NameId name) {
  Use& use = note(scope, name);
  // Assigned before any other mention and whatever happens: no value from outside can be seen.
  if (!use.used && scopes_[index(scope)].branches == 0) use.starts_missing = true;
  use.used = use.stored = true;
}

void ScopeTable::declare(ScopeId scope, NameId name) {
  Use& use = note(scope, name);
  use.used = use.stored = use.parameter = true;
}

void ScopeTable::resolve() {
  // Scopes are numbered parents first, so everything outside of a scope is decided before it.
  for (size_t i = 0; i < scopes_.size(); ++i) {
    Scope& scope = scopes_[i];
    for (const NameId name : scope.order) {
      Use& use = scope.uses.find(name)->second;
      if (!use.stored) continue;  // found further out, or global
      const VariableRef outer = scope.parent == kNoId ? VariableRef() : find(scope.parent, name);
      use.slot = slots_[index(scope.function)]++;
      if (use.parameter) continue;
      SlotStart start{.slot = use.slot, .name = name, .outer = outer};
      if (outer.slot != kNoId) {
        start.from = SlotStart::From::kOuter;
        start.outer.hops += scopes_[index(scope.parent)].function != scope.function ? 1 : 0;
      } else {
        start.from = use.starts_missing ? SlotStart::From::kMissing : SlotStart::From::kGlobal;
      }
      scope.starts.push_back(start);
    }
  }
}

VariableRef ScopeTable::find(ScopeId scope, NameId name) const {
  int32_t hops = 0;
  for (ScopeId at = scope; at != kNoId; at = scopes_[index(at)].parent) {
    const Scope& in = scopes_[index(at)];
    if (const auto use = in.uses.find(name); use != in.uses.end() && use->second.slot != kNoId) {
      return {.hops = hops, .slot = use->second.slot};
    }
    if (in.parent != kNoId && scopes_[index(in.parent)].function != in.function) ++hops;
  }
  return {};
}

}  // namespace quern::jinja
