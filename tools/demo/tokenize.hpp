// Words to token ids: lower case, without punctuation at their ends, by a vocabulary.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::tools {

/// A sentence in the layer's form.
struct TokenizedText {
  std::vector<std::string> words;       ///< in the order of the sentence
  std::vector<std::int64_t> ids;        ///< ids[i] is the index of words[i] in `vocabulary`
  std::vector<std::string> vocabulary;  ///< by id, each word once
  bool built_in = false;                ///< whether it is the built-in vocabulary of 10 words
};

/// Splits at white space and control characters, turns ASCII letters to lower case and drops ASCII
/// punctuation at both ends of a word. If the built-in vocabulary has every word, ids are its: "my
/// name is Marcello Politi" is [2, 6, 8, 3, 1]. Otherwise the vocabulary is that of the sentence,
/// sorted by bytes. A blank text gives no words.
TokenizedText tokenize(std::string_view text);

}  // namespace rapt::tools
