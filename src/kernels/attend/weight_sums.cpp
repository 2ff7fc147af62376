// Sums of the attention weights over rows, for the keys of one block. The weights are recomputed
// from the scores and the rows' final m and 1 / l, so that none has to be stored.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/rows.inl.hpp"
#include "kernels/functions.hpp"
#include "kernels/prefill/attend_tile.inl.hpp"
#include "kernels/prefill/paged.inl.hpp"
#include "kernels/prefill/score_options.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/tile/pack.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// sum_j = sum_j + w_j for one row's scores, w_j = p_j * (exp2(m_b - m) / l) as in finish_weights;
/// nothing is added for a key that is not attended.
inline void add_weights(float* row, KeyRange seen, float m, float inverse, float* sums) {
  const float block_m = block_max(row, seen);
  const bool nothing = block_m == -kInfinity;  // or only NaNs
  const float factor_of_row = nothing ? 0.0f : exp2_scalar(block_m - m) * inverse;
  const Vec top(nothing ? kLowest : block_m), factor(factor_of_row), lowest(kLowest), zero(0.0f);
  const LineRange lines(seen);
  for (std::int64_t line = lines.first; line < lines.last; ++line) {
    RAPT_UNROLL for (int i = 0; i < kLanes; i += kVecLanes) {
      const Vec s = load(row + line * kTileChunk + i);
      float* sum = sums + line * kLanes + i;
      // Only -inf is below the lowest float.
      store(sum, load(sum) + select_less(s, lowest, zero, canonical(exp2(s - top) * factor)));
    }
  }
}

/// The keys of a block, without values.
inline PackedBlock pack_keys_alone(const AttendItem& item, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  if (in_pages(item)) return paged_keys(item, scratch, block, keys);
  const KeyRows k = key_rows(item, scratch, block, keys);
  pack_keys(k.first, k.stride, keys.begin, keys.end, item.call->head_dim, scratch.k);
  return {scratch.k, 0, nullptr, 0, 0, false};
}

/// The item's first query tile.
RAPT_INLINE AttendItem first_rows(const AttendItem& item) {
  AttendItem tile = item;
  const std::int64_t most = item.call->tuning->query_rows;
  tile.rows = item.rows < most ? item.rows : most;
  return tile;
}

RAPT_INLINE std::int64_t sum_heads(const WeightSumsArgs& args) {
  return args.head_stride == 0 ? 1 : args.item.call->group;
}

/// Adds the weights of one query tile's rows, ascending, to sums [heads][kKeyBlock].
inline void add_tile(const WeightSumsArgs& args, const AttendItem& item,
                     const AttendScratch& scratch, const PackedBlock& packed, float* sums) {
  const QueryTile tile(item, 0, item.block_begin);
  if (tile.keys.begin == tile.keys.end) return;
  pack_queries(item, scratch);
  Prefetcher nothing;
  tile_scores(item, scratch, tile, packed, nothing);
  if (changes_scores(item)) tile_score_options(item, scratch, tile);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const KeyRange seen = tile.seen_by(item, r);
    if (seen.begin == seen.end) continue;
    const std::int64_t row = item.row_begin + r;
    const std::int64_t head = args.head_stride == 0 ? 0 : position_of(item, row).head;
    const float* const end = row_end_of(item, row);
    add_weights(scores_of_row(scratch, r), seen, end[0], end[1], sums + head * kKeyBlock);
  }
}

}  // namespace

std::int64_t sum_weights_scratch(const WeightSumsArgs& args) {
  return AttendScratch(first_rows(args.item), nullptr).floats + sum_heads(args) * kKeyBlock;
}

/// Writes the sums of the keys of the item's one block over all of its rows, of each head of the
/// group or of all of them.
void sum_weights(const WeightSumsArgs& args, float* memory) {
  const AttendItem& item = args.item;
  AttendItem part = first_rows(item);
  const AttendScratch scratch(part, memory);
  float* const sums = scratch.after;
  const std::int64_t heads = sum_heads(args), block = item.block_begin;
  for (std::int64_t i = 0; i < heads * kKeyBlock; ++i) sums[i] = 0.0f;
  KeyRange keys{0, 0};
  if (item.rows > 0) keys = visible_to_rows(item, item.row_begin, item.rows, block);
  if (keys.begin < keys.end) {
    const PackedBlock packed = pack_keys_alone(item, scratch, block, keys);
    const std::int64_t most = item.call->tuning->query_rows;
    for (std::int64_t r = 0; r < item.rows; r += most) {
      part.row_begin = item.row_begin + r;
      part.rows = item.rows - r < most ? item.rows - r : most;
      add_tile(args, part, scratch, packed, sums);
    }
  }
  const std::int64_t key = block * kKeyBlock, left = args.keys - key;
  const std::int64_t count = left < kKeyBlock ? left : kKeyBlock;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t j = 0; j < count; ++j) {
      args.sums[head * args.head_stride + (key + j) * args.key_stride] =
          canonical(sums[head * kKeyBlock + j]);
    }
  }
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
