#include "text/byte_level_family.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/ensure.h"
#include "base/hash.h"

namespace quern {

namespace {

constexpr std::string_view kLlama3Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|)"
    R"( ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr ByteLevelFamily kFamilies[] = {
    {.name = "gpt2",
     .pattern = "",
     .composes = false,
     .individual_digits = false,
     .ignore_merges = false,
     .adds_bos = false,
     .pre_names = " gpt-2 default ",
     .classes = " GPT2Tokenizer GPT2TokenizerFast CodeGenTokenizer CodeGenTokenizerFast ",
     .first_merges = 0},
    {.name = "llama3",
     .pattern = kLlama3Pattern,
     .composes = false,
     .individual_digits = false,
     .ignore_merges = true,
     .adds_bos = true,
     .pre_names = " llama-bpe llama3 llama-v3 ",
     .classes = " ",
     .first_merges = 0xf5220df3e2bf6d8f},
    {.name = "qwen2",
     .pattern = kQwen2Pattern,
     .composes = true,
     .individual_digits = false,
     .ignore_merges = false,
     .adds_bos = false,
     .pre_names = " qwen2 ",
     .classes = " Qwen2Tokenizer Qwen2TokenizerFast ",
     .first_merges = 0x8584b195b13b4cf7},
    {.name = "smollm",
     .pattern = "",
     .composes = false,
     .individual_digits = true,
     .ignore_merges = false,
     .adds_bos = false,
     .pre_names = " smollm starcoder ",
     .classes = " ",
     .first_merges = 0},
};

constexpr size_t kNumFirstMerges = 200;

uint64_t hash_of_first_merges(std::span<const MergeTexts> merges) {
  std::string text;
  for (size_t i = 0; i < std::min(merges.size(), kNumFirstMerges); ++i) {
    text += cat(merges[i].left, " ", merges[i].right, "\n");
  }
  return xxh64(std::as_bytes(std::span(text)));
}

bool lists(std::string_view names, std::string_view name) {
  return !name.empty() && name.find(' ') == std::string_view::npos &&
         names.find(cat(" ", name, " ")) != std::string_view::npos;
}

template <typename Test>
const ByteLevelFamily* find_family(Test&& test) {
  const auto* found = std::find_if(std::begin(kFamilies), std::end(kFamilies), test);
  return found == std::end(kFamilies) ? nullptr : found;
}

}  // namespace

std::span<const ByteLevelFamily> byte_level_families() { return kFamilies; }

const ByteLevelFamily* family_of_pre(std::string_view pre) {
  return find_family([&](const ByteLevelFamily& family) { return lists(family.pre_names, pre); });
}

const ByteLevelFamily* family_of_class(std::string_view tokenizer_class) {
  return find_family(
      [&](const ByteLevelFamily& family) { return lists(family.classes, tokenizer_class); });
}

const ByteLevelFamily* family_of_merges(std::span<const MergeTexts> merges) {
  if (merges.size() < kNumFirstMerges) return nullptr;
  const uint64_t hash = hash_of_first_merges(merges);
  return find_family([&](const ByteLevelFamily& family) {
    return family.first_merges != 0 && family.first_merges == hash;
  });
}

const ByteLevelFamily& gpt2_family() { return kFamilies[0]; }

std::string known_pre_names() {
  std::string names;
  for (const ByteLevelFamily& family : kFamilies) {
    names += family.pre_names.substr(names.empty() ? 1 : 0, family.pre_names.size() - 1);
    if (names.ends_with(' ')) names.pop_back();
  }
  return names;
}

std::vector<Normalizer> family_normalizers(const ByteLevelFamily& family) {
  std::vector<Normalizer> normalizers;
  if (family.composes) normalizers.push_back(UnicodeNormalizer{NormalForm::kNfc});
  return normalizers;
}

std::vector<PreTokenizer> family_pre_tokenizers(const ByteLevelFamily& family,
                                                bool add_prefix_space) {
  std::vector<PreTokenizer> steps;
  if (family.individual_digits) steps.push_back(DigitsPreTokenizer{.individual_digits = true});
  const bool own_pattern = !family.pattern.empty();
  auto pattern = Pattern::expression(own_pattern ? family.pattern : kGpt2Pattern, family.name);
  ENSURE(pattern.has_value(), "the pattern of ", family.name);
  if (own_pattern) {
    steps.push_back(SplitPreTokenizer{*pattern, SplitBehavior::kIsolated, false});
  }
  steps.push_back(ByteLevelPreTokenizer{.add_prefix_space = add_prefix_space,
                                        .uses_pattern = !own_pattern,
                                        .writes_bytes = true,
                                        .pattern = *std::move(pattern)});
  return steps;
}

}  // namespace quern
