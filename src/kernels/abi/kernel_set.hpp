// The ISA border. Everything that the driver and a kernel archive say to each other is in this
// header: plain structs and a table of function pointers. No inline functions: one that is compiled
// into an AVX-512 archive could be picked by the linker for the whole program.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/abi/arithmetic.hpp"

namespace rapt::kernels {

/// Columns of a packed panel: 32 keys of K, 32 outputs of a weight matrix, 32 columns of V. One
/// layout for every ISA, so that packed memory can be kept, shared and written to a file.
inline constexpr int kPanel = 32;
/// Floats behind o in a saved state: m, l, and room to keep the next o on a cache line.
inline constexpr int kStateExtra = 16;
/// Kv heads that a call of KernelSet::attend takes at most.
inline constexpr int kHeadsTogether = 8;
/// "No limit" for a range mask, far from the ends of int64 so that adding a position cannot wrap.
inline constexpr std::int64_t kUnlimited = std::int64_t{1} << 60;

/// Tile sizes of one ISA: data, so that drivers never ask which ISA they run on.
struct Tiles {
  int rows;        ///< rows of a register tile (scores, weighted values, linear)
  int columns;     ///< columns of a register tile, in floats; divides kPanel
  int query_rows;  ///< rows whose scores are held in L2 at once; a multiple of `rows`
};

/// An element mask or bias as it lies: value(query, head, key) = data[query * q + head * h + key *
/// k].
struct MaskStrides {
  std::int64_t query;
  std::int64_t head;
  std::int64_t key;
};

/// Natural scores of one query head, as in rapt::ScoreTile.
struct CallbackTile {
  float* scores;
  std::int64_t row_stride;
  std::int64_t rows, columns;
  std::int64_t first_query, first_position, first_key;
  std::int64_t head, batch;
};

/// The states of a kv head's rows in the caller's memory, from query 0 of the first head of the
/// group.
template <class T>
struct StateRows {
  T* m;
  T* l;
  T* o;  ///< null: none
  std::int64_t m_token_stride, m_head_stride;
  std::int64_t l_token_stride, l_head_stride;
  std::int64_t o_token_stride, o_head_stride;
};

/// Keys and values of a sequence in pages of `keys` keys each: those of key j are in page j / keys,
/// of which k[page] and v[page] are the beginnings. Pages that no row sees may be null.
struct PageTable {
  const float* const* k;  ///< null: not paged
  const float* const* v;
  std::int64_t k_offset, v_offset;  ///< floats from a page's beginning to the kv head's key 0
  std::int64_t keys;
  /// 0: keys and values are rows, AttendArgs::k_stride and v_stride apart. Else keys are packed as
  /// [panel][head_dim][kPanel], values as [panel][keys][kPanel] with v_stride kPanel, and `keys` is
  /// a multiple of kPanel that divides kKeyBlock. Keys and values that nobody sees may hold
  /// anything.
  int packed;
};

/// What K and V of an item are.
enum class KeyStorage { rows, pages_of_rows, packed_pages };

/// RMS normalisation of a row of queries or keys.
struct RowNorm {
  int on;  ///< 0: none
  float epsilon;
  const float* weight;  ///< null: all 1
};

/// RoPE: which row of a table of angles turns a row of queries or keys.
struct Rotation {
  const float* cos;  ///< null: no rotation; else [position][cos_stride]
  const float* sin;
  std::int64_t cos_stride, sin_stride;
  std::int64_t pairs;             ///< half of the rotary dims
  int interleaved;                ///< pairs (2 d, 2 d + 1), else (d, d + pairs)
  const std::int64_t* positions;  ///< null: row i is at first_position + i
  std::int64_t position_stride;   ///< else at positions[i * position_stride]
  std::int64_t first_position;
};

/// One work item of attention: rows [row_begin, row_begin + rows) of one sequence and one kv head
/// over the key blocks [block_begin, block_end). Row r is query r / group of head r % group of the
/// kv head's group.
struct AttendArgs {
  const float* q;  ///< query 0, first head of the group
  std::int64_t q_token_stride, q_head_stride;
  const float* k;  ///< key 0 of the kv head
  std::int64_t k_stride;
  const float* v;
  std::int64_t v_stride;
  PageTable pages;  ///< instead of k and v; the strides hold within a page

  std::int64_t row_begin;
  std::int64_t rows;
  std::int64_t group;
  std::int64_t block_begin, block_end;
  std::int64_t head_dim, value_dim;
  float scale;  ///< softmax_scale * log2(e)

  /// Range mask: query i sees keys j with max(0, i + visible_begin) <= j < min(kv_len, i +
  /// visible_limit, max(i + visible_end, visible_prefix)).
  std::int64_t kv_len;
  std::int64_t visible_begin, visible_end, visible_prefix, visible_limit;

  RowNorm norm_q, norm_k;       ///< before the rotation
  Rotation rotate_q, rotate_k;  ///< rows are query numbers and key numbers of the sequence

  float soft_cap;             ///< in base 2: cap * log2(e); 0: none
  const float* alibi_slopes;  ///< null: none; else of the group's heads, times log2(e)
  std::int64_t query_offset;  ///< position of query 0, for ALiBi and the callback
  const float* sinks;         ///< null: none; else of the group's heads, times log2(e)

  /// Null: none; else changes a tile in place. It never throws: the driver keeps what the caller's
  /// code throws.
  void (*callback)(const void* context, const CallbackTile& tile);
  const void* callback_context;
  std::int64_t sequence, first_head;  ///< what the callback is told

  const unsigned char* mask;  ///< null: none; else key is kept iff (value != 0) == (mask_keep != 0)
  MaskStrides mask_strides;
  int mask_keep;
  const float* bias;  ///< null: none
  MaskStrides bias_strides;

  float* out;  ///< query 0, first head of the group
  std::int64_t out_token_stride, out_head_stride;
  float* lse;  ///< null: not wanted
  std::int64_t lse_token_stride, lse_head_stride;
  float* weights;  ///< null: not wanted; a row's keys are dense
  std::int64_t weights_token_stride, weights_head_stride;
  std::int64_t weights_keys;         ///< columns of weights; those at or beyond kv_len are set to 0
  const std::int64_t* weights_rows;  ///< null: all; else of each query its row in weights, or -1
  StateRows<const float> state_in;
  StateRows<float> state_out;

  /// For weight sums, else null: m and 1 / l of row r at [2 r], [2 r + 1], written when the row is
  /// finished, read by sum_weights.
  float* row_ends;
  float* sums;                    ///< sum_weights: key 0, first head of the group
  std::int64_t sums_head_stride;  ///< 0: of all heads of the group together
  std::int64_t sums_key_stride;
  std::int64_t sums_keys;

  /// Null: fold the blocks and write the outputs. Else: write the state of each block, unfolded, at
  /// states + (block * rows + row of the item) * state_stride as [o, m, l]; `fold` finishes.
  float* states;
  std::int64_t state_stride;  ///< value_dim rounded up to whole panels, and kStateExtra

  /// The item that probably follows on this thread, to be prefetched; or null. It changes no
  /// result.
  const AttendArgs* next;

  float* scratch;  ///< attend_scratch(...) floats, aligned to 64 bytes
};

/// y = rows [row_begin, row_end) of x, rotated. y may be x.
struct RotateArgs {
  const float* x;  ///< row 0
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t row_begin, row_end;
  std::int64_t head_dim;
  Rotation rotation;
};

/// y = rows of x, normalised. y may be x.
struct NormArgs {
  const float* x;
  std::int64_t x_stride;
  float* y;
  std::int64_t y_stride;
  std::int64_t rows;
  std::int64_t width;
  RowNorm norm;
};

/// One block of rows times a panel range of packed weights: y = x W^T + b.
struct LinearArgs {
  const float* x;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t depth;
  const float* weight;  ///< packed: [panel][depth][kPanel]
  std::int64_t panel_begin, panel_end;
  std::int64_t columns;  ///< of the whole of y
  const float* bias;     ///< padded to whole panels, or null
  float* y;
  std::int64_t y_stride;
  float* scratch;  ///< linear_scratch(...) floats, aligned to 64 bytes
};

// --- the pieces, each also on its own so that a test can hold it against the scalar statement
// -----

//
// A row tile is up to tiles.rows rows as the kernels want their left-hand factors: element (r, k)
// lies at [k / 16][r][k % 16], that is at (k / 16 * tiles.rows + r) * 16 + k % 16.

/// Element (r, k) of a row tile = x[r * x_stride + k] * scale, rounded once.
struct PackRowsArgs {
  const float* x;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t depth;
  float scale;
  float* tile;
};

/// Keys into panels: [panel][head_dim][kPanel]; the rest of the last panel is 0.
struct PackKeysArgs {
  const float* k;
  std::int64_t k_stride;
  std::int64_t keys;
  std::int64_t head_dim;
  float* panels;
};

/// s(r, j) = sum over ascending d of q(r, d) * k[j][d], for one row tile and one block of keys.
struct ScoresArgs {
  const float* q;  ///< row tile of depth head_dim
  const float* k;  ///< packed: [panel][head_dim][kPanel]
  std::int64_t head_dim;
  std::int64_t rows;
  std::int64_t keys;  ///< at most kKeyBlock; whole panels are written
  float* s;           ///< row tile of depth kKeyBlock
};

/// Turns the scores of row 0 of a row tile into weights p_j = exp2(s_j - m) in place; exactly 0 in
/// the rest of [0, keys). Entries up to the next multiple of kLanes after `keys` are overwritten
/// too.
struct SoftmaxArgs {
  float* s;  ///< row tile; for row r add r * 16
  std::int64_t begin, end;
  std::int64_t keys;
  float m, l;  ///< results; m = -inf and l = 0 for an empty block
};

/// o[r] = fma(o[r], a[r], (sum over ascending j of p(r, j) * v[j]) * b[r]), for one row tile.
struct ValuesArgs {
  const float* p;  ///< row tile of depth `keys`
  const float* v;  ///< value (j, c) at [c / kPanel * panel_stride + j * v_stride + c % kPanel]
  std::int64_t v_stride;
  std::int64_t panel_stride;
  std::int64_t keys;
  std::int64_t rows;
  std::int64_t columns;  ///< a multiple of tiles.columns
  const float* a;        ///< [rows]
  const float* b;
  float* o;  ///< [rows][o_stride]
  std::int64_t o_stride;
};

/// Rows of one head: `merged` = x and y. Of results, o is out and m is lse, and l is not there.
struct MergeArgs {
  StateRows<const float> x, y;
  StateRows<float> merged;  ///< apart from x and y, or one of them
  std::int64_t rows;
  std::int64_t value_dim;
};

/// The kernels of one ISA.
struct KernelSet {
  const char* name;
  int lanes;  ///< floats per vector
  Tiles tiles;

  /// Rows up to which an item takes K and V as they lie: reading bounds it, and it reads ahead by
  /// itself, not looking at AttendArgs::next. 0: no item does.
  std::int64_t (*few_rows)(KeyStorage storage, std::int64_t head_dim, std::int64_t value_dim);
  /// Floats of scratch for fold, and for attend of so many heads, with these rows, head_dim,
  /// value_dim and kv_len.
  std::int64_t (*attend_scratch)(const AttendArgs&, std::int64_t heads);
  /// One item, or items of neighbouring kv heads, all with the scratch of the first: then of few
  /// rows, without `states`, in packed pages or with the rows of K, which no option changes, and of
  /// V side by side.
  void (*attend)(const AttendArgs* heads, std::int64_t count);
  void (*fold)(const AttendArgs&);
  void (*sum_weights)(const AttendArgs&);  ///< of key block block_begin
  void (*merge_states)(const MergeArgs&);
  void (*merge_results)(const MergeArgs&);
  std::int64_t (*linear_scratch)(const LinearArgs&);
  void (*linear)(const LinearArgs&);
  void (*normalize)(const NormArgs&);
  void (*rotate)(const RotateArgs&);

  void (*exp2)(const float* x, float* y, std::int64_t count);
  void (*pack_rows)(const PackRowsArgs&);
  void (*pack_keys)(const PackKeysArgs&);
  void (*scores)(const ScoresArgs&);
  void (*softmax)(SoftmaxArgs&);
  void (*values)(const ValuesArgs&);
};

}  // namespace rapt::kernels
