// The kernels' arguments for attention: a call, its sequences, and its work items.
#pragma once

#include "kernels/abi/arithmetic.hpp"
#include "kernels/abi/element.hpp"
#include "kernels/abi/rows.hpp"
#include "kernels/abi/tuning.hpp"

#include <cstdint>

namespace rapt::kernels {

/// Floats after o in a saved state: m, l, and padding so that the next o starts on a cache line.
inline constexpr int kStateExtra = 16;
/// Maximum adjacent kv heads of one work item.
inline constexpr int kItemHeads = 8;
/// "No limit" for a range of keys; far enough from the ends of int64 that adding a position cannot
/// overflow.
inline constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;

/// The visible keys of a sequence's queries: query i sees the keys j with
/// max(first_key, i + begin) <= j < min(kv_len, i + limit, max(i + end, prefix)).
struct VisibleKeys {
  std::int64_t kv_len;
  std::int64_t begin = -kUnlimited, end = kUnlimited;
  std::int64_t prefix = 0;
  std::int64_t limit = kUnlimited;
  std::int64_t first_key = 0;  ///< not 0 for a part of the keys, which keep their positions
};

/// The location of a sequence in the tensors of its call. In a padded batch it is a batch index of
/// every tensor; in a ragged batch the batch index is 0 and the rows differ.
struct SequencePlace {
  std::int64_t number = 0;  ///< index of the sequence in the call
  std::int64_t batch = 0;
  std::int64_t q_row = 0;         ///< its query 0, in q, out, lse, weights and masks
  std::int64_t kv_row = 0;        ///< its key 0, in k and v
  std::int64_t query_offset = 0;  ///< position of query 0 among its keys
  /// Addresses of its pages, instead of kv_row; those that no query sees may be null.
  const void* const* k_pages = nullptr;
  const void* const* v_pages = nullptr;
  bool continues = true;         ///< starts from the call's state_in, if any
  std::int64_t state_shift = 0;  ///< offset from rows of q to rows of state_in
};

/// The storage of K and V: rows; pages of rows, k_stride and v_stride apart; or packed pages with
/// keys in panels [panel][head_dim][kPanel] and values in panels [panel][keys][kPanel], v_stride
/// kPanel. After the last key of its sequence a page may hold anything.
enum class KeyStorage { rows, pages_of_rows, packed_pages };

/// K and V of a call, as far as the decode path depends on them.
struct StreamShape {
  KeyStorage storage;
  std::int64_t page_keys;
  std::int64_t head_dim, value_dim;
};

/// How a work item runs: `tile` on the compute-bound path, as register tiles of packed operands;
/// `stream` on the decode path, over K and V in place.
enum class Route { tile, stream };

/// Natural scores of one query head, as in rapt::ScoreTile.
struct CallbackTile {
  float* scores;
  std::int64_t row_stride;
  std::int64_t rows, columns;
  std::int64_t first_query, first_position, first_key;
  std::int64_t head, batch;
};

/// The arguments that all items of a call share. Strides are in elements.
struct AttendCall {
  const Tuning* tuning;
  std::int64_t group;  ///< query heads of a kv head
  std::int64_t head_dim, value_dim;
  float scale;  ///< softmax_scale * log2(e)

  /// Of packed pages, keys and values have the same type.
  ElementType q_type, k_type, v_type, out_type, bias_type;

  std::int64_t q_token_stride, q_head_stride;
  std::int64_t out_token_stride, out_head_stride;
  KeyStorage storage;
  std::int64_t page_keys;  ///< keys per page; packed: a multiple of kPanel that divides kKeyBlock
  std::int64_t k_stride, v_stride;            ///< between keys; in pages, within a page
  std::int64_t k_head_stride, v_head_stride;  ///< between kv heads
  /// In packed pages of bytes: bytes from a kv head's keys and values to the scales of their rows.
  std::int64_t k_scales, v_scales;

  RowNorm norm_q, norm_k;       ///< before the rotation
  Rotation rotate_q, rotate_k;  ///< without positions: query i at query_offset + i, key j at j
  Positions q_positions, k_positions;

  float soft_cap;             ///< in base 2: cap * log2(e); 0: none
  const float* alibi_slopes;  ///< null: none; otherwise per query head, times log2(e)
  const float* sinks;         ///< null: none; otherwise per query head, times log2(e)
  ElementRows<const void> bias;
  ElementRows<const unsigned char> mask;  ///< a key is kept iff (value != 0) == (mask_keep != 0)
  int mask_keep;
  /// Null: none. Otherwise changes a tile in place. Never throws: the caller of the kernel stores
  /// exceptions of the user's code.
  void (*callback)(const void* context, const CallbackTile& tile);
  const void* callback_context;

  HeadRows<float> lse, weights;      ///< a row of weights is dense
  std::int64_t weights_keys;         ///< columns of weights; those from kv_len on are set to 0
  const std::int64_t* weights_rows;  ///< null: all; else the row in weights per row of q, or -1
  StateRows<const float> state_in;   ///< o null: none
  StateRows<float> state_out;
  /// Input of sum_weights: m and 1 / l of each finished row, as [batch][kv head][row of q][head of
  /// the group]. Null without weight sums.
  float* row_ends;
  std::int64_t row_end_heads, row_end_rows;  ///< kv heads, rows of q

  std::int64_t state_stride;  ///< of a saved state: value_dim in whole panels, plus kStateExtra
};

/// Rows [row_begin, row_begin + rows) of one sequence and of `heads` adjacent kv heads over the key
/// blocks [block_begin, block_end). Row r is query r / group of head r % group of its kv head.
struct AttendItem {
  const AttendCall* call;
  const SequencePlace* sequence;
  VisibleKeys visible;
  const void* q;  ///< query 0 of the sequence, first query head of the first kv head
  void* out;      ///< likewise
  const void* k;  ///< key 0 of the sequence, first kv head; not in pages
  const void* v;
  std::int64_t k_offset, v_offset;  ///< in pages: elements from their beginning to the kv head
  std::int64_t first_head;          ///< the first query head
  std::int64_t row_begin, rows;
  std::int64_t block_begin, block_end;
  /// Null: folds the blocks and writes the outputs. Otherwise writes the state of each block,
  /// unfolded, as [o, m, l] to states + (block * rows + row of the item) * state_stride; `fold`
  /// finishes the rows.
  float* states;
  /// The item that probably runs next on this thread, to be prefetched; or null.
  const AttendItem* next;
  Route route;
  /// More than 1 requires the decode path, no `states`, and either packed pages or unmodified rows
  /// of K and V; the heads are adjacent in each row, or in each page of rows.
  std::int32_t heads;
};
static_assert(sizeof(AttendItem) <= 192, "three cache lines");

/// Folds the states of all blocks of an item's rows, left to right, and writes the outputs.
struct FoldArgs {
  AttendItem item;  ///< of one kv head, over all blocks of the rows
  const float* states;
};

/// Sums of the weights of all rows of a kv head, for the keys of one block.
struct WeightSumsArgs {
  AttendItem item;
  float* sums;               ///< key 0, first head of the group
  std::int64_t head_stride;  ///< 0: sums over all heads of the group
  std::int64_t key_stride;
  std::int64_t keys;  ///< number of sums
};

/// Rows of one head: `merged` = merge of x and y.
struct MergeArgs {
  StateRows<const float> x, y;
  StateRows<float> merged;  ///< disjoint from x and y, or equal to one of them
  std::int64_t batch, head;
  std::int64_t rows;
  std::int64_t value_dim;
};

}  // namespace rapt::kernels
