// Applies the caller's score callback to a query tile: one dense tile of natural scores per query
// head of the group.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/vec/vec.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// natural[j] = s_j * ln 2 for the scores `seen`, -inf for the others of `keys`; unspecified
/// numbers in the rest of their lines.
inline void to_natural(const float* row, KeyRange seen, KeyRange keys, float* natural) {
  const LineRange lines(seen);
  const Vec ln2(static_cast<float>(kLn2));
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) {
      const std::int64_t key = line * kLanes + i;
      const Vec s = load(row + line * kTileChunk + i);
      store(natural + key, keep_lanes(s, key, seen.begin, seen.end, Vec(0.0f)) * ln2);
    }
  }
  for (std::int64_t j = keys.begin; j < seen.begin; ++j) natural[j] = -kInfinity;
  for (std::int64_t j = seen.end; j < keys.end; ++j) natural[j] = -kInfinity;
}

/// The smallest x whose product with float(log2 e) does not overflow.
constexpr float kMinNatural = -0x1.62e42ep+127f;

/// s_j = natural[j] * log2 e. A natural score as low as -FLT_MAX is an ordinary value, as in a bias
/// (score_options.inl.hpp); only -inf hides the key.
inline void from_natural(const float* natural, KeyRange seen, float* row) {
  const LineRange lines(seen);
  const Vec log2_e(static_cast<float>(kLog2E)), lowest(kLowest), least(kMinNatural), zero(0.0f);
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) {
      const Vec x = load(natural + line * kLanes + i);
      const Vec s = select_less(x, least, zero, x) * log2_e;
      const Vec saturated = select_less(x, lowest, x, lowest);
      store(row + line * kTileChunk + i, select_less(x, least, saturated, s));
    }
  }
}

/// Passes the scores of rows [first_row, first_row + rows) of the kv head, in the block that starts
/// at `key`, through the callback. seen_by(r): the keys of `keys` that row r sees; scores_of(r):
/// its scores.
template <class SeenBy, class ScoresOf>
inline void call_back(const AttendItem& item, const AttendScratch& scratch, std::int64_t first_row,
                      std::int64_t rows, std::int64_t key, KeyRange keys, const SeenBy& seen_by,
                      const ScoresOf& scores_of) {
  for (std::int64_t head = 0; head < item.call->group; ++head) {
    // Consecutive rows of one head are `group` rows apart.
    const std::int64_t first =
        (head + item.call->group - first_row % item.call->group) % item.call->group;
    std::int64_t count = 0;
    for (std::int64_t r = first; r < rows; r += item.call->group, ++count) {
      to_natural(scores_of(r), seen_by(r), keys, scratch.natural + count * kKeyBlock);
    }
    if (count == 0) continue;
    const std::int64_t query = (first_row + first) / item.call->group;
    item.call->callback(item.call->callback_context,
                        {.scores = scratch.natural + keys.begin,
                         .row_stride = kKeyBlock,
                         .rows = count,
                         .columns = keys.end - keys.begin,
                         .first_query = query,
                         .first_position = query + item.sequence->query_offset,
                         .first_key = key + keys.begin,
                         .head = item.first_head + head,
                         .batch = item.sequence->number});
    count = 0;
    for (std::int64_t r = first; r < rows; r += item.call->group, ++count) {
      from_natural(scratch.natural + count * kKeyBlock, seen_by(r), scores_of(r));
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
