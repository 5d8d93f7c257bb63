#include "text/decoder.h"

#include <optional>
#include <utility>

#include "text/characters.h"
#include "text/utf8.h"

namespace quern {

namespace {

/// How long replacements may make one token: steps in a row can double it each.
constexpr size_t kMaxReplacedBytes = 1 << 20;

std::optional<int> hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return std::nullopt;
}

/// The byte that a token such as <0x0A> stands for.
std::optional<char> fallback_byte(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') return std::nullopt;
  const std::optional<int> high = hex_digit(token[3]), low = hex_digit(token[4]);
  if (!high || !low) return std::nullopt;
  return static_cast<char>(*high * 16 + *low);
}

/// Adds `text` with each occurrence of `old` (not empty) replaced.
void append_replaced(std::string& out, std::string_view text, std::string_view old,
                     std::string_view replacement) {
  size_t from = 0;
  for (size_t at = text.find(old); at != std::string_view::npos; at = text.find(old, from)) {
    out.append(text.substr(from, at - from));
    out.append(replacement);
    from = at + old.size();
  }
  out.append(text.substr(from));
}

}  // namespace

void DecoderRun::Chunks::clear() {
  bytes.clear();
  list.clear();
}

void DecoderRun::Chunks::add(std::string_view text, bool ends_token) {
  list.push_back({bytes.size(), text.size(), ends_token});
  bytes.append(text);
}

void DecoderRun::add(std::string_view token, std::string& text) {
  in_.clear();
  in_.add(token, true);
  pass(false, text);
}

void DecoderRun::finish(std::string& text) {
  in_.clear();
  pass(true, text);
}

void DecoderRun::pass(bool last, std::string& text) {
  for (size_t i = 0; i < steps_->size(); ++i) {
    out_.clear();
    std::visit([&](const auto& kind) { step(kind, states_[i], last); }, (*steps_)[i]);
    std::swap(in_, out_);
  }
  text.append(in_.bytes);
}

bool DecoderRun::whole_token(const Chunk& chunk, State& state) {
  state.token.append(in_.text(chunk));
  return chunk.ends_token;
}

void DecoderRun::step(const ByteLevelDecoder&, State& state, bool last) {
  for (const Chunk& chunk : in_.list) {
    if (!whole_token(chunk, state)) continue;
    scratch_.clear();
    bool byte_level = true;
    for (size_t at = 0; byte_level && at < state.token.size();) {
      const Utf8Step read = read_utf8(state.token, at);
      const int byte = byte_level_byte(read.character);
      byte_level = read.kind == Utf8Step::Kind::kValid && byte >= 0;
      scratch_ += static_cast<char>(byte);
      at += read.size;
    }
    // An added token that is not written in the byte alphabet stands for itself.
    state.held.append(byte_level ? scratch_ : state.token);
    state.token.clear();
  }
  scratch_.clear();
  const size_t used = append_certain_utf8(scratch_, state.held);
  state.held.erase(0, used);
  if (last && !state.held.empty()) scratch_.append(kReplacementCharacter);
  if (last) state.held.clear();
  out_.add(scratch_, last);
}

void DecoderRun::step(const MetaspaceDecoder& step, State& state, bool) {
  for (const Chunk& chunk : in_.list) {
    scratch_.clear();
    const std::string_view text = in_.text(chunk);
    for (size_t at = 0; at < text.size();) {
      const Utf8Step read = read_utf8(text, at);
      const bool replaced =
          read.kind == Utf8Step::Kind::kValid && read.character == step.replacement;
      if (!replaced) scratch_.append(text.substr(at, read.size));
      if (replaced && (state.past_first || !step.drops_first)) scratch_ += ' ';
      at += read.size;
    }
    out_.add(scratch_, chunk.ends_token);
    state.past_first |= chunk.ends_token;
  }
}

void DecoderRun::step(const ReplaceDecoder& step, State& state, bool) {
  for (const Chunk& chunk : in_.list) {
    if (!whole_token(chunk, state)) continue;
    // Decoding cannot fail: where a pattern gives up, the tokens stay as they are.
    if (!gave_up_) gave_up_ = !replace(step, state.token);
    out_.add(gave_up_ ? state.token : scratch_, true);
    state.token.clear();
  }
}

bool DecoderRun::replace(const ReplaceDecoder& step, std::string_view token) {
  matches_.clear();
  scratch_.clear();
  fuel_.add_text(token.size());
  if (!step.pattern.find_all(token, fuel_, matches_)) return false;
  size_t from = 0;
  for (const TextSpan& match : matches_) {
    scratch_.append(token.substr(from, match.begin - from));
    if (scratch_.size() + step.content.size() > kMaxReplacedBytes) return false;
    scratch_.append(step.content);
    from = match.end;
  }
  scratch_.append(token.substr(from));
  return true;
}

void DecoderRun::flush_bytes(State& state) {
  if (state.held.empty()) return;
  if (is_utf8(state.held)) {
    out_.add(state.held, true);
  } else {
    for (size_t i = 0; i < state.held.size(); ++i) out_.add(kReplacementCharacter, true);
  }
  state.held.clear();
}

void DecoderRun::step(const ByteFallbackDecoder&, State& state, bool last) {
  for (const Chunk& chunk : in_.list) {
    if (!whole_token(chunk, state)) continue;
    if (const std::optional<char> byte = fallback_byte(state.token)) {
      state.held += *byte;
    } else {
      flush_bytes(state);
      out_.add(state.token, true);
    }
    state.token.clear();
  }
  if (last) flush_bytes(state);
}

void DecoderRun::step(const FuseDecoder&, State&, bool last) {
  for (const Chunk& chunk : in_.list) out_.add(in_.text(chunk), false);
  if (last) out_.add("", true);
}

void DecoderRun::step(const StripDecoder& step, State& state, bool) {
  std::string content;
  append_utf8(content, step.content);
  for (const Chunk& chunk : in_.list) {
    std::string_view text = in_.text(chunk);
    while (!state.inside && !text.empty()) {
      if (state.stripped < step.start && text.starts_with(content)) {
        text.remove_prefix(content.size());
        ++state.stripped;
      } else {
        state.inside = true;
      }
    }
    // What the end may lose waits in `held`, at most `stop` characters.
    state.held.append(text);
    size_t kept = state.held.size();
    for (uint64_t i = 0; i < step.stop && kept >= content.size(); ++i) {
      if (!std::string_view(state.held).substr(0, kept).ends_with(content)) break;
      kept -= content.size();
    }
    out_.add(std::string_view(state.held).substr(0, kept), chunk.ends_token);
    state.held.erase(0, kept);
    if (chunk.ends_token) state = State();
  }
}

void DecoderRun::step(const BpeSuffixDecoder& step, State& state, bool last) {
  const auto release = [&](std::string_view replacement) {
    scratch_.clear();
    append_replaced(scratch_, state.held, step.suffix, replacement);
    out_.add(scratch_, true);
  };
  for (const Chunk& chunk : in_.list) {
    if (!whole_token(chunk, state)) continue;
    if (state.holds_token) release(" ");
    state.held = state.token;
    state.holds_token = true;
    state.token.clear();
  }
  if (last && state.holds_token) release("");
}

void DecoderRun::step(const JoinDecoder&, State& state, bool) {
  for (const Chunk& chunk : in_.list) {
    if (!state.inside && state.past_first) out_.add(" ", false);
    state.inside = !chunk.ends_token;
    state.past_first |= chunk.ends_token;
    out_.add(in_.text(chunk), chunk.ends_token);
  }
}

}  // namespace quern
