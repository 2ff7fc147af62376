// One work item on the stream route: a few rows of one or several kv heads, whose K and V are read
// once.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/rows.inl.hpp"
#include "kernels/decode/block.inl.hpp"
#include "kernels/decode/widened.inl.hpp"
#include "kernels/functions.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/state/state.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// Kv head h of a multi-head work item.
RAPT_INLINE AttendItem head_of(const AttendItem& item, std::int64_t h) {
  const AttendCall& call = *item.call;
  AttendItem head = item;
  head.q = element_at(head.q, call.q_type, h * call.group * call.q_head_stride);
  head.out = element_at(head.out, call.out_type, h * call.group * call.out_head_stride);
  head.first_head += h * call.group;
  if (in_pages(item)) {
    head.k_offset += h * call.k_head_stride;
    head.v_offset += h * call.v_head_stride;
  } else {
    head.k = element_at(head.k, call.k_type, h * call.k_head_stride);
    head.v = element_at(head.v, call.v_type, h * call.v_head_stride);
  }
  head.heads = 1;
  return head;
}

/// A block of rows that are widened.
inline void stream_widened(const StreamHeads& heads, std::int64_t block) {
  const QueryTile tile(*heads.all, 0, block);
  if (!is_seen(heads, tile)) return;
  for (std::int64_t h = 0; h < heads.count; ++h) {
    stream_widened_block(heads.items[h], heads.scratch[h], tile);
  }
}

/// A block of packed pages of any type.
inline void stream_pages(const StreamHeads& heads, std::int64_t block) {
  with_page_elements(nullptr, heads.all->call->k_type,
                     [&](const auto* type) { stream_block_of_panels(heads, block, type); });
}

inline void begin_head(const AttendItem& item, const AttendScratch& scratch) {
  pack_queries(item, scratch);
  if (item.states != nullptr) return;
  begin_state(item, scratch);
  clear_weights(item, scratch);
}

}  // namespace

/// None without values: sums of values are kept in the memory of V's panels, which then is empty.
std::int64_t stream_rows(const StreamShape& shape) {
  if (shape.value_dim <= 0 || shape.value_dim % kVecLanes != 0) return 0;
  if (shape.storage == KeyStorage::packed_pages) return kStreamRows;
  const bool in_lines = shape.storage != KeyStorage::pages_of_rows || shape.page_keys % kLanes == 0;
  return in_lines && shape.head_dim % kVecLanes == 0 ? kStreamRows : 0;
}

void score_key_rows(const KeyRowsArgs& args) {
  RowsAhead none;
  with_rows<KeyRowScores, kStreamRows>(args.rows, args, none);
}

void add_value_rows(const ValueRowsArgs& args) {
  RowsAhead none;
  with_rows<ValueRowSums, kStreamRows>(args.rows, args, none);
}

/// Block by block for all heads: a block of all heads is adjacent in memory, and a jump costs as
/// much as reading a few KiB. Rows of a single head are read some blocks at a time.
void attend_stream(const AttendItem& item, float* memory) {
  const AttendScratch scratch(item, memory);
  StreamHeads heads{&item, item.heads, &item, &scratch};
  AttendItem items[kItemHeads];
  AttendScratch scratches[kItemHeads];
  if (item.heads > 1) {
    for (std::int64_t h = 0; h < item.heads; ++h) {
      items[h] = head_of(item, h);
      scratches[h] = scratch.of_head(h);
    }
    heads.items = items;
    heads.scratch = scratches;
  }
  for (std::int64_t h = 0; h < heads.count; ++h) begin_head(heads.items[h], heads.scratch[h]);
  const bool widens = widens_rows(item);
  const bool by_block = item.heads > 1 || item.states != nullptr || is_packed(item) || widens;
  const std::int64_t at_once = by_block ? 1 : kBlocksAtOnce;
  for (std::int64_t block = item.block_begin; block < item.block_end; block += at_once) {
    if (item.states != nullptr) clear_state(item, heads.scratch[0]);
    if (is_packed(item)) {
      stream_pages(heads, block);
    } else if (widens) {
      stream_widened(heads, block);
    } else {
      stream_blocks_of_rows(heads, block, at_once);
    }
    if (item.states != nullptr) save_state(item, heads.scratch[0], block);
  }
  for (std::int64_t h = 0; item.states == nullptr && h < heads.count; ++h) {
    finish_rows(heads.items[h], heads.scratch[h]);
  }
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
