// What kernels are told of attention: a call once, its sequences, and each of its work items.
#pragma once

#include "kernels/abi/arithmetic.hpp"
#include "kernels/abi/rows.hpp"

#include <cstdint>

namespace rapt::kernels {

/// Floats after o in a saved state: m, l, and room to keep the next o on a cache line.
inline constexpr int kStateExtra = 16;
/// Adjacent kv heads that one work item computes at most.
inline constexpr int kItemHeads = 8;
/// "No limit" for a range of keys, far from the ends of int64 so that adding a position cannot
/// wrap.
inline constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;

/// Which keys the queries of a sequence see: query i sees the keys j with
/// max(first_key, i + begin) <= j < min(kv_len, i + limit, max(i + end, prefix)).
struct VisibleKeys {
  std::int64_t kv_len;
  std::int64_t begin = -kUnlimited, end = kUnlimited;
  std::int64_t prefix = 0;
  std::int64_t limit = kUnlimited;
  std::int64_t first_key = 0;  ///< not 0: of a part of the keys, which keep their positions
};

/// Where a sequence lies in the tensors of its call. In a padded batch it is a batch index of every
/// tensor; in a ragged one the batch index is 0 and the rows differ.
struct SequencePlace {
  std::int64_t number = 0;  ///< of the sequence in the call
  std::int64_t batch = 0;
  std::int64_t q_row = 0;         ///< its query 0, in q, out, lse, weights and masks
  std::int64_t kv_row = 0;        ///< its key 0, in k and v
  std::int64_t query_offset = 0;  ///< position of query 0 among its keys
  /// Instead of kv_row: the beginnings of its pages; those that no query sees may be null.
  const float* const* k_pages = nullptr;
  const float* const* v_pages = nullptr;
  bool continues = true;         ///< from the call's state_in, where there is one
  std::int64_t state_shift = 0;  ///< from its rows of q to those of state_in
};

/// What K and V are: rows; pages of rows, k_stride and v_stride apart; or packed pages, in which
/// keys are panels [panel][head_dim][kPanel] and values panels [panel][keys][kPanel] with v_stride
/// kPanel. What a page holds after the last key of its sequence may be anything.
enum class KeyStorage { rows, pages_of_rows, packed_pages };

/// How a work item runs: as register tiles of packed operands, bound by arithmetic; or as a stream
/// over K and V in place, bound by reading.
enum class Route { tile, stream };

/// Natural scores of one query head, as in rapt::ScoreTile.
struct CallbackTile {
  float* scores;
  std::int64_t row_stride;
  std::int64_t rows, columns;
  std::int64_t first_query, first_position, first_key;
  std::int64_t head, batch;
};

/// What all items of a call have in common. Strides are in elements.
struct AttendCall {
  std::int64_t group;  ///< query heads of a kv head
  std::int64_t head_dim, value_dim;
  float scale;  ///< softmax_scale * log2(e)

  std::int64_t q_token_stride, q_head_stride;
  std::int64_t out_token_stride, out_head_stride;
  KeyStorage storage;
  std::int64_t page_keys;  ///< keys of a page; packed: a multiple of kPanel that divides kKeyBlock
  std::int64_t k_stride, v_stride;            ///< from key to key, in pages within a page
  std::int64_t k_head_stride, v_head_stride;  ///< from kv head to kv head

  RowNorm norm_q, norm_k;       ///< before the rotation
  Rotation rotate_q, rotate_k;  ///< without positions: query i at query_offset + i, key j at j
  Positions q_positions, k_positions;

  float soft_cap;             ///< in base 2: cap * log2(e); 0: none
  const float* alibi_slopes;  ///< null: none; else of each query head, times log2(e)
  const float* sinks;         ///< null: none; else of each query head, times log2(e)
  ElementRows<const float> bias;
  ElementRows<const unsigned char> mask;  ///< a key is kept iff (value != 0) == (mask_keep != 0)
  int mask_keep;
  /// Null: none; else changes a tile in place. It never throws: what the caller's code throws is
  /// kept above.
  void (*callback)(const void* context, const CallbackTile& tile);
  const void* callback_context;

  HeadRows<float> lse, weights;      ///< a row of weights is dense
  std::int64_t weights_keys;         ///< columns of weights; those at or after kv_len are set to 0
  const std::int64_t* weights_rows;  ///< null: all; else of each row of q its row in weights, or -1
  StateRows<const float> state_in;   ///< o null: none
  StateRows<float> state_out;
  /// For the sums of weights: m and 1 / l of a finished row, with rows as [batch][kv head][row of
  /// q][head of the group]. Null: not wanted.
  float* row_ends;
  std::int64_t row_end_heads, row_end_rows;  ///< kv heads, rows of q

  std::int64_t state_stride;  ///< of a saved state: value_dim in whole panels, and kStateExtra
};

/// Rows [row_begin, row_begin + rows) of one sequence and of `heads` adjacent kv heads over the key
/// blocks [block_begin, block_end). Row r is query r / group of head r % group of its kv head.
struct AttendItem {
  const AttendCall* call;
  const SequencePlace* sequence;
  VisibleKeys visible;
  const float* q;  ///< query 0 of the sequence, first query head of the first kv head
  float* out;      ///< likewise
  const float* k;  ///< key 0 of the sequence, first kv head; not in pages
  const float* v;
  std::int64_t k_offset, v_offset;  ///< in pages: floats from a page's beginning to the kv head
  std::int64_t first_head;          ///< the first query head
  std::int64_t row_begin, rows;
  std::int64_t block_begin, block_end;
  /// Null: fold the blocks and write the outputs. Else: write the state of each block, unfolded, at
  /// states + (block * rows + row of the item) * state_stride as [o, m, l]; `fold` finishes.
  float* states;
  /// The item that probably follows on this thread, to be prefetched; or null. It changes no
  /// result.
  const AttendItem* next;
  Route route;
  /// More than 1: on the stream, without `states`, over packed pages or over rows of K, which no
  /// option changes, and of V that adjoin.
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
  std::int64_t head_stride;  ///< 0: of all heads of the group together
  std::int64_t key_stride;
  std::int64_t keys;  ///< of sums
};

/// Rows of one head: `merged` = x and y.
struct MergeArgs {
  StateRows<const float> x, y;
  StateRows<float> merged;  ///< apart from x and y, or one of them
  std::int64_t batch, head;
  std::int64_t rows;
  std::int64_t value_dim;
};

}  // namespace rapt::kernels
