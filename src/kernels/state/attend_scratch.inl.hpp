// The layout of an attention work item's scratch memory.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "kernels/tile/multiply_tile.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// multiple: a power of 2.
RAPT_INLINE std::int64_t round_up(std::int64_t n, std::int64_t multiple) {
  return (n + multiple - 1) & -multiple;
}

RAPT_INLINE std::int64_t blocks_of(const AttendItem& item) {
  return (item.visible.kv_len + kKeyBlock - 1) / kKeyBlock;
}

RAPT_INLINE bool changes_queries(const AttendItem& item) {
  return item.call->norm_q.on != 0 || item.call->rotate_q.cos != nullptr;
}

RAPT_INLINE bool changes_keys(const AttendItem& item) {
  return item.call->norm_k.on != 0 || item.call->rotate_k.cos != nullptr;
}

/// Whether rows of queries, and keys, are copied before they are packed: changed, or widened.
RAPT_INLINE bool copies_queries(const AttendItem& item) {
  return item.call->q_type != ElementType::f32 || changes_queries(item);
}

RAPT_INLINE bool copies_keys(const AttendItem& item) {
  return item.call->k_type != ElementType::f32 || changes_keys(item);
}

/// Each head's part of a and b in a multi-head work item.
constexpr std::int64_t kHeadRows = (kStreamRows + kVecLanes - 1) / kVecLanes * kVecLanes;
static_assert(kStreamRows <= kRows);
// The parts of the heads fit into the memory of scores, of V's panels and of coefficients.
static_assert(kItemHeads * kRows <= kQueryRows && kItemHeads * kStreamRows <= kKeyBlock &&
              kItemHeads * kHeadRows <= kQueryRows);

/// Everything is a multiple of 16 floats, so that every part starts on a cache line.
struct AttendScratch {
  std::int64_t rows, blocks;
  std::int64_t q_tile;      // floats of a row tile of queries
  std::int64_t q_floats;    // of all row tiles
  std::int64_t o_stride;    // value_dim in whole panels
  std::int64_t key_stride;  // of a row of `keys`
  float* row;               // [head_dim], if queries are copied
  float* keys;              // [kKeyBlock][key_stride], if keys are
  float* out;               // [o_stride]: a row of results that are narrowed
  float* wide;      // [4 kVecLanes][head_dim or value_dim]: rows that the stream route widens
  float* k_scales;  // [kKeyBlock], if keys are bytes
  float* v_scales;  // likewise
  float* q;         // row tiles of depth head_dim
  float* k;         // panels of one block
  float* v;         // panels of one block
  float* s;         // row tiles of depth kKeyBlock, for kQueryRows rows
  float* top;       // [kQueryRows][kLanes]: maxima collected while the scores are computed
  float* o;         // [rows][o_stride], with m and l the running state
  float* m;
  float* l;
  float* block_m;  // [kQueryRows]: the state and the fold coefficients of one block
  float* block_l;
  float* a;
  float* b;
  float* inverse;  // [kQueryRows]: 1 / l, and a vector of magnitudes, for direct outputs
  float* largest;
  float* natural;    // [kQueryRows][kKeyBlock], if there is a score callback
  float* block_max;  // [rows][blocks], if weights are requested
  float* others;     // queries and states of the other heads of the item
  std::int64_t floats;
  float* after;  // scratch memory of attend_row_exactly()

  AttendScratch() = default;

  /// For the first kv head of the item, or with another number of rows. memory: null to compute
  /// only `floats`.
  AttendScratch(const AttendItem& item, float* memory) : AttendScratch(item, item.rows, memory) {}

  AttendScratch(const AttendItem& item, std::int64_t item_rows, float* memory) {
    rows = round_up(item_rows, 16);
    blocks = item.call->weights.data != nullptr ? blocks_of(item) : 0;
    q_tile = tile_floats(item.call->head_dim);
    o_stride = round_up(item.call->value_dim, kPanel);
    floats = 0;
    key_stride = round_up(item.call->head_dim, kLanes);
    row = take(memory, copies_queries(item) ? key_stride : 0);
    keys = take(memory, copies_keys(item) ? kKeyBlock * key_stride : 0);
    out = take(memory, item.call->out_type != ElementType::f32 ? o_stride : 0);
    const bool widens = item.route == Route::stream && (item.call->k_type != ElementType::f32 ||
                                                        item.call->v_type != ElementType::f32);
    const std::int64_t width = key_stride > o_stride ? key_stride : o_stride;
    wide = take(memory, widens ? (4 * kVecLanes > kLanes ? 4 * kVecLanes : kLanes) * width : 0);
    k_scales = take(memory, item.call->k_type == ElementType::i8 ? kKeyBlock : 0);
    v_scales = take(memory, item.call->v_type == ElementType::i8 ? kKeyBlock : 0);
    q_floats = (item_rows + kRows - 1) / kRows * q_tile;
    q = take(memory, q_floats);
    k = take(memory, kKeyBlock * item.call->head_dim);
    v = take(memory, kKeyBlock * o_stride);
    s = take(memory, kQueryRows * kKeyBlock);
    top = take(memory, kQueryRows * kLanes);
    o = take(memory, rows * o_stride);
    m = take(memory, rows);
    l = take(memory, rows);
    block_m = take(memory, round_up(kQueryRows, 16));
    block_l = take(memory, round_up(kQueryRows, 16));
    a = take(memory, round_up(kQueryRows, 16));
    b = take(memory, round_up(kQueryRows, 16));
    inverse = take(memory, round_up(kQueryRows, 16));
    largest = take(memory, kLanes);
    natural = take(memory, item.call->callback != nullptr ? kQueryRows * kKeyBlock : 0);
    block_max = take(memory, round_up(rows * blocks, 16));
    others = take(memory, (item.heads - 1) * kept_floats());
    after = take(memory, 0);
  }

  /// Floats that a head keeps from block to block: its queries and its running state.
  std::int64_t kept_floats() const {
    return q_floats + rows * (o_stride + 2) + round_up(rows * blocks, 16);
  }

  /// With weights and fold coefficients of its own, for part n of the item: a head or a block.
  AttendScratch of_part(std::int64_t n) const {
    AttendScratch part = *this;
    part.s += n * kRows * kKeyBlock;
    part.a += n * kHeadRows;
    part.b += n * kHeadRows;
    return part;
  }

  /// For kv head h of the item.
  AttendScratch of_head(std::int64_t h) const {
    AttendScratch head = of_part(h);
    if (h == 0) return head;
    head.q = others + (h - 1) * kept_floats();
    head.o = head.q + q_floats;
    head.m = head.o + rows * o_stride;
    head.l = head.m + rows;
    head.block_max = head.l + rows;
    head.v += h * kStreamRows * o_stride;
    return head;
  }

 private:
  /// The next `count` floats. Addresses are integers: null + n is undefined, and testing for null
  /// twenty times is measurable in a small call.
  float* take(float* scratch, std::int64_t count) {
    const auto at = reinterpret_cast<std::uintptr_t>(scratch) +
                    static_cast<std::uintptr_t>(floats) * sizeof(float);
    floats += count;
    return reinterpret_cast<float*>(at);
  }
};

/// Floats for the item, and for attend_row_exactly() after it.
inline std::int64_t attend_scratch(const AttendItem& item) {
  return AttendScratch(item, nullptr).floats + AttendScratch(item, 1, nullptr).floats;
}

}  // namespace
}  // namespace rapt::kernels::RAPT_KERNEL_ISA
