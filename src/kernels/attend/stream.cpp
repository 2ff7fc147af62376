// One work item of attention on the stream route: few rows, whose K and V are read once, of one
// head or of several.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/rows.inl.hpp"
#include "kernels/decode/decode.inl.hpp"
#include "kernels/decode/heads.inl.hpp"
#include "kernels/functions.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/block_softmax.inl.hpp"
#include "kernels/state/finish.inl.hpp"
#include "kernels/state/state.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

/// All rows of the item over blocks [begin, end), from and into the running state in scratch, or
/// each into a state of its own.
inline void stream_blocks(const AttendItem& item, const AttendScratch& scratch, std::int64_t begin,
                          std::int64_t end) {
  if (!in_pages(item)) return stream_rows_in_place(item, scratch, begin, end);
  for (std::int64_t block = begin; block < end; ++block) {
    if (item.states != nullptr) clear_state(item, scratch);
    const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, block);
    if (keys.begin != keys.end) stream_block_of_pages(item, scratch, block, keys);
    if (item.states != nullptr) save_state(item, scratch, block);
  }
}

/// Kv head h of an item of several.
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

/// Several kv heads, block by block: what is read of them for a block is adjacent in memory, and a
/// jump costs as much as reading a few KiB.
inline void attend_heads(const AttendItem& item, float* memory) {
  const std::int64_t count = item.heads;
  AttendItem heads[kItemHeads];
  for (std::int64_t i = 0; i < count; ++i) heads[i] = head_of(item, i);
  const AttendScratch scratch(item, memory);
  float* const others = scratch.after + AttendScratch(item, 1, nullptr).floats;
  const auto scratch_of = [&](std::int64_t i) {
    return i == 0 ? scratch : scratch.of_other_head(others + (i - 1) * scratch.kept_floats());
  };
  for (std::int64_t i = 0; i < count; ++i) {
    const AttendScratch own = scratch_of(i);
    pack_queries(heads[i], own);
    begin_state(heads[i], own);
    clear_weights(heads[i], own);
  }
  const bool rows = !in_pages(item);
  for (std::int64_t block = item.block_begin; block < item.block_end; ++block) {
    const KeyRange keys = visible_to_rows(item, item.row_begin, item.rows, block);
    if (keys.begin >= keys.end) continue;
    if (rows && keys.end - keys.begin == kKeyBlock) {
      stream_block_of_heads(heads, count, scratch_of, block);
      continue;
    }
    for (std::int64_t i = 0; i < count; ++i) {
      if (rows) {
        stream_rows_in_place(heads[i], scratch_of(i), block, block + 1);
      } else {
        stream_block_of_pages(heads[i], scratch_of(i), block, keys);
      }
    }
  }
  for (std::int64_t i = 0; i < count; ++i) finish_rows(heads[i], scratch_of(i));
}

}  // namespace

/// Rows of an item that reads K and V in place. Its scores pass through the memory of V's panels,
/// of which there is none without values.
std::int64_t stream_rows(KeyStorage storage, std::int64_t head_dim, std::int64_t value_dim) {
  if (storage == KeyStorage::pages_of_rows) return 0;
  if (value_dim <= 0 || value_dim % kVecLanes != 0) return 0;
  return storage == KeyStorage::packed_pages || head_dim % kVecLanes == 0 ? kStreamRows : 0;
}

void attend_stream(const AttendItem& item, float* memory) {
  if (item.heads > 1) return attend_heads(item, memory);
  const AttendScratch scratch(item, memory);
  pack_queries(item, scratch);
  if (item.states == nullptr) {
    begin_state(item, scratch);
    clear_weights(item, scratch);
  }
  stream_blocks(item, scratch, item.block_begin, item.block_end);
  if (item.states == nullptr) finish_rows(item, scratch);
}

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
