// Sums of the attention weights over rows, for the keys of one block. The weights are computed
// again from the scores and from what the rows ended with, so that none has to be stored.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/attend.inl.hpp"

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

/// The rows of one query tile, ascending.
inline void add_tile(const AttendArgs& args, const AttendScratch& scratch, std::int64_t key,
                     const PackedBlock& packed) {
  const QueryTile tile(args, 0, key / kKeyBlock);
  if (tile.keys.begin == tile.keys.end) return;
  pack_queries(args, scratch);
  Prefetcher nothing;
  tile_scores(args, scratch, tile, packed, nothing);
  if (changes_scores(args)) tile_score_options(args, scratch, tile);
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    const KeyRange seen = tile.seen_by(args, r);
    if (seen.begin == seen.end) continue;
    const std::int64_t row = args.row_begin + r;
    const std::int64_t head = args.sums_head_stride == 0 ? 0 : position_of(args, row).head;
    add_weights(scores_of_row(scratch, r), seen, args.row_ends[2 * row], args.row_ends[2 * row + 1],
                scratch.sums + head * kKeyBlock);
  }
}

/// The keys of a block, whose values are not wanted.
inline PackedBlock pack_keys_alone(const AttendArgs& args, const AttendScratch& scratch,
                                   std::int64_t block, KeyRange keys) {
  if (args.pages.k != nullptr) return paged_keys(args, scratch, block, keys);
  const KeyRows k = key_rows(args, scratch, block, keys);
  pack_keys(k.first, k.stride, keys.begin, keys.end, args.head_dim, scratch.k);
  return {scratch.k, nullptr, nullptr, 0, 0, nullptr};
}

/// Writes the sums of the keys of block `block_begin` over all rows [row_begin, row_begin + rows),
/// of each head of the group or, with sums_head_stride 0, of all of them.
inline void sum_weights(const AttendArgs& args) {
  AttendArgs part = args;
  part.rows = args.rows < kQueryRows ? args.rows : kQueryRows;
  const AttendScratch scratch(part);
  const std::int64_t heads = args.sums_head_stride == 0 ? 1 : args.group;
  for (std::int64_t i = 0; i < heads * kKeyBlock; ++i) scratch.sums[i] = 0.0f;
  const std::int64_t key = args.block_begin * kKeyBlock;
  KeyRange keys{0, 0};
  if (args.rows > 0) keys = visible_to_rows(args, args.row_begin, args.rows, args.block_begin);
  if (keys.begin < keys.end) {
    const PackedBlock packed = pack_keys_alone(args, scratch, args.block_begin, keys);
    for (std::int64_t r = 0; r < args.rows; r += kQueryRows) {
      part.row_begin = args.row_begin + r;
      part.rows = args.rows - r < kQueryRows ? args.rows - r : kQueryRows;
      add_tile(part, scratch, key, packed);
    }
  }
  const std::int64_t left = args.sums_keys - key;
  const std::int64_t count = left < kKeyBlock ? left : kKeyBlock;
  for (std::int64_t head = 0; head < heads; ++head) {
    for (std::int64_t j = 0; j < count; ++j) {
      args.sums[head * args.sums_head_stride + (key + j) * args.sums_key_stride] =
          canonical(scratch.sums[head * kKeyBlock + j]);
    }
  }
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
