// The table of one ISA's kernels, and the kernels of a few lines. The files of an archive are
// compiled once per ISA, with that ISA's flags and RAPT_KERNEL_ISA set to its name; only the table
// is visible outside.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/functions.hpp"
#include "kernels/probes.inl.hpp"
#include "kernels/rows/layer_norm.inl.hpp"
#include "kernels/rows/rms_norm.inl.hpp"
#include "kernels/rows/rope.inl.hpp"
#include "kernels/rows/softmax.inl.hpp"
#include "kernels/state/attend_scratch.inl.hpp"
#include "kernels/state/state.inl.hpp"
#include "kernels/tile/element.inl.hpp"
#include "kernels/tile/pack.inl.hpp"
#include "kernels/tile/pack_page.inl.hpp"
#include "kernels/tile/pack_weight.inl.hpp"
#include "kernels/tile/scores.inl.hpp"
#include "kernels/tile/weighted_values.inl.hpp"

namespace rapt::kernels::RAPT_KERNEL_ISA {
namespace {

void exp2_array(const float* x, float* y, std::int64_t count) {
  std::int64_t i = 0;
  for (; i + kVecLanes <= count; i += kVecLanes) store(y + i, exp2(load(x + i)));
  float rest[kVecLanes] = {};
  for (std::int64_t t = 0; i + t < count; ++t) rest[t] = x[i + t];
  store(rest, exp2(load(rest)));
  for (std::int64_t t = 0; i + t < count; ++t) y[i + t] = rest[t];
}

void pack_row_tile(const PackRowsArgs& args) {
  for (std::int64_t r = 0; r < args.rows; ++r) {
    pack_scaled_row(args.x + r * args.x_stride, args.depth, args.scale, args.tile + r * kLanes);
  }
}

/// score_tile() collects no row maxima.
constexpr float* kNoTop = nullptr;

void scores_of_block(const ScoresArgs& args) {
  for (std::int64_t j = 0; j < args.keys; j += kColumns) {
    const float* k = args.k + j / kPanel * kPanel * args.head_dim + j % kPanel;
    with_rows<ScoreTile>(args.rows, args.q, k, args.head_dim, j, args.s, kNoTop);
  }
}

void softmax_of_row(SoftmaxArgs& args) {
  const KeyRange seen{args.begin, args.end};
  args.m = seen.begin < seen.end ? block_max(args.s, seen) : -kInfinity;
  args.l = block_weights(args.s, seen, {0, args.keys}, args.m);
}

void values_of_block(const ValuesArgs& args) {
  const ValuePiece all{args.v, 0, args.keys};
  for (std::int64_t c = 0; c < args.columns; c += kColumns) {
    const std::int64_t at = c / kPanel * args.panel_stride + c % kPanel;
    const FoldInto fold{args.a, args.b, args.o + c, args.o_stride};
    with_rows<ValueTile>(args.rows, args.p, &all, 1, at, args.v_stride, fold, DirectTile{});
  }
}

}  // namespace

extern const KernelSet kKernels;
const KernelSet kKernels = {
    .name = RAPT_TEXT(RAPT_KERNEL_ISA),
    .lanes = kVecLanes,
    .tiles = {.rows = kRows,
              .columns = kColumns,
              .most_query_rows = kQueryRows,
              .most_stream_rows = kStreamRows},
    .tuning = kShape.tuning,
    .stream_rows = stream_rows,
    .attend_scratch = attend_scratch,
    .attend = attend,
    .fold = fold,
    .sum_weights_scratch = sum_weights_scratch,
    .sum_weights = sum_weights,
    .merge_states = merge_states,
    .merge_results = merge_results,
    .linear_scratch = linear_scratch,
    .linear = linear,
    .pack_keys = place_keys,
    .pack_values = place_values,
    .pack_weight = pack_weight,
    .normalize = normalize_rows,
    .rotate = rotate_rows,
    .layer_norm = layer_norm_rows,
    .softmax_rows = softmax_rows,
    .widen = widen_rows,
    .narrow = narrow_rows,
    .exp2 = exp2_array,
    .pack_rows = pack_row_tile,
    .scores = scores_of_block,
    .softmax = softmax_of_row,
    .values = values_of_block,
    .key_rows = score_key_rows,
    .value_rows = add_value_rows,
    .fma_chains = fma_chains,
    .read_floats = read_floats,
};

}  // namespace rapt::kernels::RAPT_KERNEL_ISA
