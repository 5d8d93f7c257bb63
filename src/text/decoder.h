#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/result.h"
#include "text/pattern.h"

namespace quern {

// The steps from token texts back to text, as tokenizer.json names them. Each makes a list of
// texts from a list of texts.

/// Byte-level characters to bytes; all tokens become one text, invalid UTF-8 becomes U+FFFD.
struct ByteLevelDecoder {};
/// The replacement character to a space; in the first token to nothing where one was put before.
struct MetaspaceDecoder {
  char32_t replacement;
  bool drops_first;
};
/// In each token.
struct ReplaceDecoder {
  Pattern pattern;
  std::string content;
};
/// Runs of <0xNN> to the text they spell, or to one U+FFFD for each where they spell none.
struct ByteFallbackDecoder {};
/// All tokens to one.
struct FuseDecoder {};
/// Up to `start` times `content` away from the front of each token and `stop` times from its end.
struct StripDecoder {
  char32_t content;
  uint64_t start, stop;
};
/// The suffix of words to a space, except in the last token.
struct BpeSuffixDecoder {
  std::string suffix;
};
/// A tokenizer without a decoder puts spaces between its tokens.
struct JoinDecoder {};

using DecoderStep =
    std::variant<ByteLevelDecoder, MetaspaceDecoder, ReplaceDecoder, ByteFallbackDecoder,
                 FuseDecoder, StripDecoder, BpeSuffixDecoder, JoinDecoder>;

/// The state of decoding between one token and the next: each step gets its input in chunks and
/// hands on what no later chunk can change. The text that comes out is the same however the tokens
/// are spread over calls.
class DecoderRun {
 public:
  /// `steps` must outlive this.
  explicit DecoderRun(const std::vector<DecoderStep>& steps)
      : steps_(&steps), states_(steps.size()) {}

  /// Takes one more token; adds to `text` what is now certain.
  void add(std::string_view token, std::string& text);
  /// There are no more tokens; adds the rest to `text`.
  void finish(std::string& text);

 private:
  /// A piece of a token on its way through the steps; the last piece of a token ends it.
  struct Chunk {
    size_t begin, size;
    bool ends_token;
  };
  struct Chunks {
    std::string bytes;
    std::vector<Chunk> list;

    void clear();
    void add(std::string_view text, bool ends_token);
    std::string_view text(const Chunk& chunk) const {
      return std::string_view(bytes).substr(chunk.begin, chunk.size);
    }
  };
  struct State {
    std::string token;         // the part of the token that has come so far
    std::string held;          // what waits for later tokens
    bool holds_token = false;  // `held` is a whole token, maybe an empty one
    bool past_first = false;   // a token has ended
    bool inside = false;       // the token has begun
    uint64_t stripped = 0;     // characters taken from the front of the token
  };

  void pass(bool last, std::string& text);
  void step(const ByteLevelDecoder& step, State& state, bool last);
  void step(const MetaspaceDecoder& step, State& state, bool last);
  void step(const ReplaceDecoder& step, State& state, bool last);
  void step(const ByteFallbackDecoder& step, State& state, bool last);
  void step(const FuseDecoder& step, State& state, bool last);
  void step(const StripDecoder& step, State& state, bool last);
  void step(const BpeSuffixDecoder& step, State& state, bool last);
  void step(const JoinDecoder& step, State& state, bool last);
  /// The whole token that `chunk` ends, or nothing if it goes on; clear state.token afterwards.
  bool whole_token(const Chunk& chunk, State& state);
  /// Leaves the token with its matches replaced in scratch_; false where that takes too much work
  /// or room.
  bool replace(const ReplaceDecoder& step, std::string_view token);
  void flush_bytes(State& state);

  const std::vector<DecoderStep>* steps_;
  std::vector<State> states_;
  Chunks in_, out_;
  PatternFuel fuel_{0};
  bool gave_up_ = false;  // a replacement took too much: none is tried again
  std::vector<TextSpan> matches_;
  std::string scratch_;
};

}  // namespace quern
