#include "text/template/template.h"

#include <algorithm>
#include <utility>

#include "base/cat.h"
#include "text/template/code.h"
#include "text/template/code_points.h"
#include "text/template/compiler.h"
#include "text/template/machine.h"

namespace quern {

namespace {

constexpr size_t kMaxTemplateBytes = size_t{1} << 20;

Error named(Error error, const std::string& what) {
  error = with_context(std::move(error), what);
  error.what = what;
  return error;
}

Result<jinja::TracedText> run(const jinja::Code& code, const Json& variables,
                              const RenderOptions& options) {
  if (!variables.is_object()) {
    return Error{.code = ErrorCode::kBadInput,
                 .message = cat(code.what, ": the variables are of type ", variables.type_name(),
                                ", wanted an object"),
                 .what = code.what};
  }
  auto text = jinja::Machine(code, variables, options).run();
  if (!text) return named(std::move(text).error(), code.what);
  return text;
}

}  // namespace

void add_absent_variables(Json& variables) {
  for (const std::string name : {"tools", "documents"}) {
    if (!variables.contains(name)) variables[name] = nullptr;
  }
}

Result<ChatTemplate> ChatTemplate::parse(std::string source, std::string what) {
  const auto refuse = [&](std::string message) {
    return Error{.code = ErrorCode::kBadInput, .message = std::move(message), .what = what};
  };
  if (source.size() > kMaxTemplateBytes) {
    return refuse(cat(what, ": the template has ", source.size(), " bytes, at most ",
                      kMaxTemplateBytes, " are allowed"));
  }
  if (!jinja::is_valid_utf8(source)) return refuse(cat(what, ": the template is not valid UTF-8"));
  auto code = jinja::compile_template(source, what);
  if (!code) return named(std::move(code).error(), what);
  return ChatTemplate(std::make_shared<const jinja::Code>(std::move(code).value()));
}

bool ChatTemplate::reads(std::string_view variable) const {
  const auto is_it = [&](jinja::NameId name) {
    return code_->names[static_cast<size_t>(name)] == variable;
  };
  return std::ranges::any_of(code_->instructions,
                             [&](const jinja::Instruction& in) {
                               return in.op == jinja::Op::kLoadGlobal && is_it(in.c);
                             }) ||
         std::ranges::any_of(code_->scope_starts, [&](const auto& starts) {
           return std::ranges::any_of(starts, [&](const jinja::SlotStart& start) {
             return start.from == jinja::SlotStart::From::kGlobal && is_it(start.name);
           });
         });
}

Result<std::string> ChatTemplate::render(const Json& variables,
                                         const RenderOptions& options) const {
  ASSIGN_OR_RETURN(const jinja::TracedText text, run(*code_, variables, options));
  return text.bytes();
}

Result<std::vector<Segment>> ChatTemplate::render_segments(const Json& variables,
                                                           const RenderOptions& options) const {
  ASSIGN_OR_RETURN(const jinja::TracedText text, run(*code_, variables, options));
  std::vector<Segment> segments;
  const std::string_view bytes = text.bytes();
  size_t begin = 0;
  bool from_variables = false;
  const auto add = [&](size_t end) {
    if (end > begin) {
      segments.push_back({std::string(bytes.substr(begin, end - begin)), from_variables});
    }
    begin = end;
    from_variables = !from_variables;
  };
  for (const uint32_t edge : text.edges()) add(edge);
  add(bytes.size());
  return segments;
}

}  // namespace quern
