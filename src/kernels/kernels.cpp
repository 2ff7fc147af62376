// The kernels of one ISA. This file is compiled once per ISA, with that ISA's flags and
// RAPT_KERNEL_ISA set to its name; the table at the end is all that the archive exports.
#include "kernels/abi/kernel_set.hpp"
#include "kernels/attend/attend.inl.hpp"
#include "kernels/attend/weight_sums.inl.hpp"
#include "kernels/linear/linear.inl.hpp"
#include "kernels/rows/rms_norm.inl.hpp"
#include "kernels/rows/rope.inl.hpp"
#include "kernels/state/state.inl.hpp"

namespace rapt::kernels {
namespace RAPT_KERNEL_ISA {
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

void pack_key_panels(const PackKeysArgs& args) {
  pack_keys(args.k, args.k_stride, 0, args.keys, args.head_dim, args.panels);
}

/// No maximum is wanted from the scores.
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
  for (std::int64_t c = 0; c < args.columns; c += kColumns) {
    const float* v = args.v + c / kPanel * args.panel_stride + c % kPanel;
    const FoldInto fold{args.a, args.b, args.o + c, args.o_stride};
    with_rows<ValueTile>(args.rows, args.p, v, args.v_stride, std::int64_t{0}, args.keys, fold,
                         DirectTile{});
  }
}

}  // namespace
}  // namespace RAPT_KERNEL_ISA

#define RAPT_TEXT_OF(x) #x
#define RAPT_TEXT(x) RAPT_TEXT_OF(x)
#if defined(RAPT_KERNEL_ISA_AVX512)
#define RAPT_KERNEL_SET kAvx512Kernels
#elif defined(RAPT_KERNEL_ISA_AVX2)
#define RAPT_KERNEL_SET kAvx2Kernels
#elif defined(RAPT_KERNEL_ISA_NEON)
#define RAPT_KERNEL_SET kNeonKernels
#else
#define RAPT_KERNEL_SET kScalarKernels
#endif

extern const KernelSet RAPT_KERNEL_SET;
const KernelSet RAPT_KERNEL_SET = {
    .name = RAPT_TEXT(RAPT_KERNEL_ISA),
    .lanes = RAPT_KERNEL_ISA::kVecLanes,
    .tiles = {.rows = RAPT_KERNEL_ISA::kRows,
              .columns = RAPT_KERNEL_ISA::kColumns,
              .query_rows = RAPT_KERNEL_ISA::kQueryRows},
    .stream_rows = RAPT_KERNEL_ISA::stream_rows,
    .attend_scratch = RAPT_KERNEL_ISA::attend_scratch,
    .attend = RAPT_KERNEL_ISA::attend,
    .fold = RAPT_KERNEL_ISA::fold,
    .sum_weights_scratch = RAPT_KERNEL_ISA::sum_weights_scratch,
    .sum_weights = RAPT_KERNEL_ISA::sum_weights,
    .merge_states = RAPT_KERNEL_ISA::merge_states,
    .merge_results = RAPT_KERNEL_ISA::merge_results,
    .linear_scratch = RAPT_KERNEL_ISA::linear_scratch,
    .linear = RAPT_KERNEL_ISA::linear,
    .normalize = RAPT_KERNEL_ISA::normalize_rows,
    .rotate = RAPT_KERNEL_ISA::rotate_rows,
    .exp2 = RAPT_KERNEL_ISA::exp2_array,
    .pack_rows = RAPT_KERNEL_ISA::pack_row_tile,
    .pack_keys = RAPT_KERNEL_ISA::pack_key_panels,
    .scores = RAPT_KERNEL_ISA::scores_of_block,
    .softmax = RAPT_KERNEL_ISA::softmax_of_row,
    .values = RAPT_KERNEL_ISA::values_of_block,
};

}  // namespace rapt::kernels
