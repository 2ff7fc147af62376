// The ISA border: all calls between the library and a kernel archive use the plain structs and the
// table of function pointers in this folder. No inline functions: the linker could pick one that
// was compiled into an AVX-512 archive for the whole program.
#pragma once

#include "kernels/abi/arithmetic.hpp"
#include "kernels/abi/attend.hpp"
#include "kernels/abi/element.hpp"
#include "kernels/abi/packing.hpp"
#include "kernels/abi/rows.hpp"
#include "kernels/abi/stream.hpp"
#include "kernels/abi/tuning.hpp"

#include <cstddef>
#include <cstdint>

namespace rapt::kernels {

/// Tile sizes of one ISA, as data: callers do not depend on the ISA.
struct Tiles {
  int rows;     ///< rows of a register tile (scores, weighted values, linear)
  int columns;  ///< columns of a register tile, in floats; divides kPanel
  /// Maxima of Tuning::query_rows, a multiple of `rows`, and of Tuning::stream_rows.
  int most_query_rows, most_stream_rows;
};

/// One block of rows times a panel range of packed weights: y = x W^T + b. Strides are in elements.
struct LinearArgs {
  const Tuning* tuning;
  const void* x;
  ElementType x_type;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t depth;
  const void* weight;  ///< packed: [panel][depth][kPanel]
  ElementType weight_type;
  std::int64_t panel_begin, panel_end;
  std::int64_t columns;  ///< of the whole of y
  const float* bias;     ///< padded to whole panels, or null
  void* y;
  ElementType y_type;
  std::int64_t y_stride;
  float* scratch;  ///< linear_scratch(...) floats, aligned to 64 bytes
};

// --- parts of the kernels, callable alone so that tests can compare them with the scalar statement
//
// A row tile is up to tiles.rows rows in the layout of left-hand factors: element (r, k) is at [k /
// 16][r][k % 16], offset (k / 16 * tiles.rows + r) * 16 + k % 16.

/// Element (r, k) of a row tile = x[r * x_stride + k] * scale, rounded once.
struct PackRowsArgs {
  const float* x;
  std::int64_t x_stride;
  std::int64_t rows;
  std::int64_t depth;
  float scale;
  float* tile;
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

/// Turns the scores of row 0 of a row tile into weights p_j = exp2(s_j - m) in place, exactly 0 in
/// the rest of [0, keys). Also overwrites entries after `keys`, up to the next multiple of kLanes.
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

// --- limits of the machine, for the tools that measure

/// Independent chains of multiply-adds in fma_chains.
inline constexpr int kFmaChains = 12;

/// Reads memory and sums it: `streams` equal parts are read in parallel, each with a prefetch
/// `ahead` floats ahead (0: none).
struct ReadArgs {
  const float* from;
  std::int64_t count;  ///< a multiple of 64 * streams
  std::int64_t streams, ahead;
};

/// The kernels of one ISA.
struct KernelSet {
  const char* name;
  int lanes;  ///< floats per vector
  Tiles tiles;
  Tuning tuning;  ///< calls point to it

  /// The most rows that an item on the decode path can have, which ignores AttendItem::next; calls
  /// use up to Tuning::stream_rows of them. 0: no item takes it.
  std::int64_t (*stream_rows)(const StreamShape& shape);
  /// Floats of scratch for `attend` and `fold`, aligned to 64 bytes.
  std::int64_t (*attend_scratch)(const AttendItem&);
  void (*attend)(const AttendItem&, float* scratch);
  void (*fold)(const FoldArgs&, float* scratch);
  std::int64_t (*sum_weights_scratch)(const WeightSumsArgs&);
  void (*sum_weights)(const WeightSumsArgs&, float* scratch);
  void (*merge_states)(const MergeArgs&);
  void (*merge_results)(const MergeArgs&);
  std::int64_t (*linear_scratch)(const LinearArgs&);
  void (*linear)(const LinearArgs&);
  void (*pack_keys)(const PackKeysArgs&);
  void (*pack_values)(const PackValuesArgs&);
  void (*pack_weight)(const PackWeightArgs&);
  void (*normalize)(const NormArgs&);
  void (*rotate)(const RotateArgs&);
  void (*layer_norm)(const LayerNormArgs&);
  void (*softmax_rows)(const SoftmaxRowsArgs&);
  void (*widen)(const ConvertArgs&);
  void (*narrow)(const ConvertArgs&);

  void (*exp2)(const float* x, float* y, std::int64_t count);
  void (*pack_rows)(const PackRowsArgs&);
  void (*scores)(const ScoresArgs&);
  void (*softmax)(SoftmaxArgs&);
  void (*values)(const ValuesArgs&);
  void (*key_rows)(const KeyRowsArgs&);
  void (*value_rows)(const ValueRowsArgs&);

  /// `steps` steps of kFmaChains independent chains of vectors. The result depends on all of them.
  float (*fma_chains)(std::int64_t steps);
  float (*read_floats)(const ReadArgs&);
};

}  // namespace rapt::kernels
