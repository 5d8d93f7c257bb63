#pragma once

#include <span>
#include <string_view>

#include "server/service.h"

namespace quern {

/// One route of the API.
struct Route {
  enum class Access {
    kOpen,  // without a key: says nothing of requests or models
    kKey,
  };
  enum class Needs {
    kNothing,
    kModel,  // a model that is loaded: 503 before
    kRoom,   // also a place in the queue: decided before the body is read
  };

  std::string_view method;
  std::string_view path;  // "{id}" stands for one part
  Access access = Access::kKey;
  Needs needs = Needs::kNothing;
  std::string_view summary;
  void (*handle)(Service& service, Call call) = nullptr;
};

/// Every route there is. To add one: a line here and its file under endpoints/.
std::span<const Route> routes();

/// The route of a path, whatever the method, or nullptr.
const Route* find_route(std::string_view path);
/// That of a path and a method.
const Route* find_route(std::string_view path, std::string_view method);
/// The route's pattern as a metric's label; "other" where there is none.
std::string_view route_name(std::string_view path);
/// The part of a path that "{id}" stands for, its percent-encoding undone.
std::string path_id(const Route& route, std::string_view path);

}  // namespace quern
