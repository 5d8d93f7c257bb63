#pragma once

#include <cstdint>
#include <string>

namespace quern {

/// `count` common English words with spaces between them, a function of the seed and the stream:
/// text that every tokenizer takes, one token a word in most vocabularies.
std::string random_words(uint64_t seed, uint64_t stream, int64_t count);

/// Words that begin no other text of the same seed, for an index below 2^32; with another seed they
/// are others. Before a random text they keep it out of every prefix cache.
inline constexpr int64_t kNumUniqueWords = 4;
std::string unique_words(uint64_t seed, int64_t index);

}  // namespace quern
