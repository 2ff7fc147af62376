#include "dispatch/tuning_fields.hpp"

namespace rapt::dispatch {
namespace {

using kernels::Tuning;
using tuning::CallTuning;

constexpr TuningField<Tuning> kKernelFields[] = {
    {"query_rows", &Tuning::query_rows},
    {"stream_rows", &Tuning::stream_rows},
    {"pack_values_rows", &Tuning::pack_values_rows},
    {"near_values_stride", &Tuning::near_values_stride},
    {"panel_floats_ahead", &Tuning::panel_floats_ahead},
    {"weight_floats_ahead", &Tuning::weight_floats_ahead},
    {"one_row_weight_floats_ahead", &Tuning::one_row_weight_floats_ahead},
    {"stream_floats", &Tuning::stream_floats},
    {"short_value_row", &Tuning::short_value_row},
};

constexpr TuningField<CallTuning> kCallFields[] = {
    {"inline_work", &CallTuning::inline_work},
    {"item_output_floats", &CallTuning::item_output_floats},
    {"min_item_rows", &CallTuning::min_item_rows},
    {"linear_item_rows", &CallTuning::linear_item_rows},
};

// A field that is in no list would be read from no file and tested by no test.
static_assert(sizeof(kKernelFields) / sizeof(*kKernelFields) * sizeof(std::int64_t) ==
              sizeof(Tuning));
static_assert(sizeof(kCallFields) / sizeof(*kCallFields) * sizeof(std::int64_t) ==
              sizeof(CallTuning));

/// Rows and floats beyond which larger numbers make no difference.
constexpr std::int64_t kMostRows = 1 << 16, kMostFloats = 1 << 20;
/// Rows of a product whose packed depth block, with a tile of weights, is 1 MiB: twice what the
/// default may take.
constexpr std::int64_t kMostLinearRows = (1 << 20) / (kernels::kDepthBlock * 4) - kernels::kPanel;

}  // namespace

std::span<const TuningField<Tuning>> kernel_fields() noexcept { return kKernelFields; }
std::span<const TuningField<CallTuning>> call_fields() noexcept { return kCallFields; }

TuningRange range_of(const TuningField<Tuning>& field, const kernels::Tiles& tiles) {
  if (field.number == &Tuning::query_rows) return {tiles.rows, tiles.most_query_rows, tiles.rows};
  if (field.number == &Tuning::stream_rows) return {0, tiles.most_stream_rows};
  if (field.number == &Tuning::pack_values_rows) return {0, kMostRows};
  return {0, kMostFloats};
}

TuningRange range_of(const TuningField<CallTuning>& field) {
  if (field.number == &CallTuning::inline_work) return {0, std::int64_t{1} << 40};
  if (field.number == &CallTuning::item_output_floats) return {1, std::int64_t{1} << 30};
  if (field.number == &CallTuning::linear_item_rows) return {1, kMostLinearRows};
  return {1, kMostRows};
}

}  // namespace rapt::dispatch
