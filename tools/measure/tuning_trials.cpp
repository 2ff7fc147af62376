#include "measure/tuning_trials.hpp"

namespace rapt::tools {
namespace {

using kernels::Tuning;
using tuning::CallTuning;

WorkShape prefill(std::int64_t heads, std::int64_t q_len, std::int64_t kv_len,
                  std::int64_t head_dim, bool causal = false) {
  return completed(
      {.heads = heads, .q_len = q_len, .kv_len = kv_len, .head_dim = head_dim, .causal = causal});
}

WorkShape decode(std::int64_t group, std::int64_t kv_len, std::int64_t head_dim, bool cold,
                 bool paged = false) {
  return completed({.kind = WorkKind::decode,
                    .heads = 2 * group,
                    .kv_heads = 2,
                    .kv_len = kv_len,
                    .head_dim = head_dim,
                    .paged = paged,
                    .cold = cold});
}

WorkShape product(std::int64_t rows, std::int64_t in, std::int64_t out, bool cold = false) {
  return completed({.kind = WorkKind::linear,
                    .rows = rows,
                    .in_features = in,
                    .out_features = out,
                    .cold = cold});
}

constexpr std::int64_t kKibi = 1024;

}  // namespace

const std::vector<Trial<Tuning>>& kernel_trials() {
  static const std::vector<Trial<Tuning>> kTrials = {
      {&Tuning::query_rows,
       {48, 96, 144, 192},
       {prefill(4, 768, 768, 64), prefill(2, 768, 768, 128, true)}},
      {&Tuning::pack_values_rows,
       {24, 48, 96, 192, 384},
       {prefill(4, 36, 1024, 192), prefill(2, 144, 1024, 192), prefill(2, 288, 1024, 192)}},
      {&Tuning::near_values_stride,
       {0, 32, 64, 128, 256},
       {prefill(4, 384, 768, 64), prefill(2, 384, 768, 128)}},
      {&Tuning::stream_rows,
       {1, 2, 4, 6, 8},
       {decode(3, 4096, 128, true), decode(5, 4096, 128, true), decode(8, 4096, 128, true)}},
      {&Tuning::stream_floats,
       {512, 1024, 2048, 4096, 8192},
       {decode(4, 8192, 128, true), decode(1, 8192, 64, true), decode(4, 1024, 128, false)}},
      {&Tuning::short_value_row,
       {0, 64, 128},
       {decode(1, 8192, 64, true), decode(1, 1024, 64, false), decode(1, 4096, 128, true)}},
      {&Tuning::panel_floats_ahead,
       {512, 1024, 2048, 4096, 6144, 8192},
       {decode(4, 8192, 128, true, true), decode(1, 8192, 64, true, true)}},
      {&Tuning::weight_floats_ahead,
       {512, 1024, 2048, 4096, 8192, 16384},
       {product(4, 2048, 2048, true)}},
      {&Tuning::one_row_weight_floats_ahead,
       {256, 512, 1024, 2048, 4096},
       {product(1, 2048, 2048, true)}},
  };
  return kTrials;
}

const std::vector<Trial<CallTuning>>& call_trials() {
  static const std::vector<Trial<CallTuning>> kTrials = {
      {&CallTuning::item_output_floats,
       {24 * kKibi, 48 * kKibi, 96 * kKibi, 192 * kKibi, 384 * kKibi},
       {prefill(1, 1536, 1536, 128, true), prefill(1, 1536, 1536, 64)}},
      {&CallTuning::linear_item_rows,
       {48, 96, 144, 192, 288, 384},
       {product(768, 768, 768), product(768, 2048, 512)}},
      // Multiply-adds between each two of the values.
      {&CallTuning::inline_work,
       {1 << 17, 1 << 18, 1 << 19, 1 << 20, 1 << 21},
       {product(3, 256, 256), product(6, 256, 256), product(12, 256, 256), product(24, 256, 256)},
       true},
      {&CallTuning::min_item_rows,
       {12, 24, 48, 96, 192},
       {prefill(1, 64, 4096, 64), prefill(1, 256, 4096, 64)},
       true},
  };
  return kTrials;
}

}  // namespace rapt::tools
