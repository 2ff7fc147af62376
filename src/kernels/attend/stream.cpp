// One work item on the stream route: a few rows of one or several kv heads, whose K and V are read
// once.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/rows.inl.hpp"
#include "kernels/decode/block.inl.hpp"
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
  head.q += h * call.group * call.q_head_stride;
  head.out += h * call.group * call.out_head_stride;
  head.first_head += h * call.group;
  if (in_pages(item)) {
    head.k_offset += h * call.k_head_stride;
    head.v_offset += h * call.v_head_stride;
  } else {
    head.k += h * call.k_head_stride;
    head.v += h * call.v_head_stride;
  }
  head.heads = 1;
  return head;
}

inline void begin_head(const AttendItem& item, const AttendScratch& scratch) {
  pack_queries(item, scratch);
  if (item.states != nullptr) return;
  begin_state(item, scratch);
  clear_weights(item, scratch);
}

}  // namespace

/// None without values: sums of values are kept in the memory of V's panels, which then is empty.
std::int64_t stream_rows(KeyStorage storage, std::int64_t page_keys, std::int64_t head_dim,
                         std::int64_t value_dim) {
  if (storage == KeyStorage::pages_of_rows && page_keys % kLanes != 0) return 0;
  if (value_dim <= 0 || value_dim % kVecLanes != 0) return 0;
  return storage == KeyStorage::packed_pages || head_dim % kVecLanes == 0 ? kStreamRows : 0;
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
  const bool by_block = item.heads > 1 || item.states != nullptr || is_packed(item);
  const std::int64_t at_once = by_block ? 1 : kBlocksAtOnce;
  for (std::int64_t block = item.block_begin; block < item.block_end; block += at_once) {
    if (item.states != nullptr) clear_state(item, heads.scratch[0]);
    is_packed(item) ? stream_block_of_panels(heads, block)
                    : stream_blocks_of_rows(heads, block, at_once);
    if (item.states != nullptr) save_state(item, heads.scratch[0], block);
  }
  for (std::int64_t h = 0; item.states == nullptr && h < heads.count; ++h) {
    finish_rows(heads.items[h], heads.scratch[h]);
  }
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
