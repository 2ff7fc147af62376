// Splitting, lower case, and the two vocabularies.

#include "demo/tokenize.hpp"

#include "text/printable.hpp"

#include <algorithm>
#include <array>

namespace rapt::tools {
namespace {

constexpr std::array<std::string_view, 10> kBuiltIn = {
    "hello", "politi", "my", "marcello", "your", "what", "name", "the", "is", "nice"};

bool separates(char c) {
  const auto byte = static_cast<unsigned char>(c);
  return byte <= 0x20 || byte == 0x7f;
}

bool is_punctuation(char c) {
  return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
         (c >= '{' && c <= '~');
}

char lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

void append_word(std::string_view raw, std::vector<std::string>& words) {
  while (!raw.empty() && is_punctuation(raw.front())) raw.remove_prefix(1);
  while (!raw.empty() && is_punctuation(raw.back())) raw.remove_suffix(1);
  if (raw.empty()) return;
  std::string word = printable(raw);
  std::transform(word.begin(), word.end(), word.begin(), lower);
  words.push_back(std::move(word));
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> words;
  std::size_t begin = 0;
  for (std::size_t i = 0; i <= text.size(); ++i) {
    if (i < text.size() && !separates(text[i])) continue;
    append_word(text.substr(begin, i - begin), words);
    begin = i + 1;
  }
  return words;
}

}  // namespace

TokenizedText tokenize(std::string_view text) {
  TokenizedText result;
  result.words = split(text);
  result.built_in = std::all_of(result.words.begin(), result.words.end(), [](const auto& word) {
    return std::find(kBuiltIn.begin(), kBuiltIn.end(), word) != kBuiltIn.end();
  });
  if (result.built_in) {
    result.vocabulary.assign(kBuiltIn.begin(), kBuiltIn.end());
    for (const std::string& word : result.words) {
      result.ids.push_back(std::find(kBuiltIn.begin(), kBuiltIn.end(), word) - kBuiltIn.begin());
    }
    return result;
  }
  result.vocabulary = result.words;
  std::sort(result.vocabulary.begin(), result.vocabulary.end());
  result.vocabulary.erase(std::unique(result.vocabulary.begin(), result.vocabulary.end()),
                          result.vocabulary.end());
  for (const std::string& word : result.words) {
    const auto place = std::lower_bound(result.vocabulary.begin(), result.vocabulary.end(), word);
    result.ids.push_back(place - result.vocabulary.begin());
  }
  return result;
}

}  // namespace rapt::tools
