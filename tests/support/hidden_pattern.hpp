// Which keys the masks and biases of random problems hide: scattered ones, and the structures that
// masks have in practice.
#pragma once

#include "core/random.hpp"

#include <cstdint>
#include <cstdlib>

namespace rapt::test {

enum class Hides {
  scattered,   ///< one key in four, one key block in five, one row in nine; no two rows alike
  padding,     ///< the ends of a sequence; all of every fourth one
  documents,   ///< all but the keys of the query's own document (block-diagonal)
  band,        ///< all but the keys near the query
  whole_rows,  ///< everything from some queries, nothing from the others
  nothing,
};

/// An element of the scores [batch, heads, q_len, kv_len], and their last two extents.
struct ScorePlace {
  std::int64_t batch, head, query, key;
  std::int64_t q_len, kv_len;
};

/// The document of key j; their unequal lengths differ by head.
inline std::int64_t document_of(std::int64_t j, const ScorePlace& at, std::int64_t unit) {
  std::int64_t document = 0;
  for (const std::int64_t part : {9, 20, 31, 60, 64, 80}) {
    document += j >= (part * at.kv_len / 100 + 7 * at.head) / unit * unit ? 1 : 0;
  }
  return document;
}

/// `scattered` excepted. unit: what the borders are multiples of.
inline bool structure_hides(Hides pattern, const ScorePlace& at, std::int64_t unit) {
  const std::int64_t near = at.query * at.kv_len / (at.q_len > 0 ? at.q_len : 1);
  switch (pattern) {
    case Hides::padding: {
      const std::int64_t begin = at.batch % 2 == 1 ? at.kv_len / 5 : 0;
      const std::int64_t end = at.kv_len * 2 / 3 - 3 * at.head;
      return at.batch % 4 == 3 || at.key < begin / unit * unit || at.key >= end / unit * unit;
    }
    case Hides::documents:
      return document_of(at.key, at, unit) != document_of(near, at, unit);
    case Hides::band:
      return std::abs(near - at.key) / unit > (at.kv_len / 8 + at.head) / unit;
    case Hides::whole_rows:
      return (at.query * 7 + at.head + at.batch) % 3 == 1;
    case Hides::nothing:
    case Hides::scattered:
      break;
  }
  return false;
}

/// row: the number of the row in the mask's own extents.
inline bool hides_key(Hides pattern, std::uint64_t seed, Random& random, std::int64_t row,
                      const ScorePlace& at) {
  if (pattern == Hides::scattered) {
    const bool one = random.below(4) == 0;
    return one || (row + at.key / 256) % 5 == 3 || row % 9 == 7;
  }
  // Some structures have holes.
  const bool hole = seed % 3 == 1 && pattern != Hides::nothing && random.below(50) == 0;
  return hole || structure_hides(pattern, at, seed % 2 == 0 ? 32 : 1);
}

}  // namespace rapt::test
