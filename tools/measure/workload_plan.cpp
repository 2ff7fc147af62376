// From the sizes and masks of a workload to ranges of keys.
#include "measure/workload_plan.hpp"

#include <algorithm>

namespace rapt::tools {
namespace {

/// The scores of a sequence and head that flops() counts.
double counted_scores(const WorkShape& shape) {
  const auto queries = static_cast<double>(shape.q_len), keys = static_cast<double>(shape.kv_len);
  if (shape.window_left == kNoWindow) return (shape.causal ? 0.5 : 1.0) * queries * keys;
  const PlanSequence sequence = plan_sequences(shape).front();
  double scores = 0;
  for (std::int64_t i = 0; i < shape.q_len; ++i) {
    const std::int64_t begin = first_visible(sequence.visible, i);
    const std::int64_t end = end_of_visible(sequence.visible, i);
    scores += static_cast<double>(std::max<std::int64_t>(0, end - begin));
  }
  return scores;
}

}  // namespace

std::vector<PlanSequence> plan_sequences(const WorkShape& shape) {
  const std::int64_t offset = shape.kv_len - shape.q_len;
  const std::int64_t begin =
      shape.window_left == kNoWindow ? -kernels::kUnlimited : offset - shape.window_left;
  const std::int64_t end = shape.causal ? offset + 1 : kernels::kUnlimited;
  return std::vector<PlanSequence>(
      static_cast<std::size_t>(shape.batch),
      {shape.q_len, {.kv_len = shape.kv_len, .begin = begin, .end = end}});
}

PlanProblem plan_problem(const WorkShape& shape, const kernels::KernelSet& set,
                         std::span<const PlanSequence> sequences) {
  const auto storage = shape.paged ? kernels::KeyStorage::packed_pages : kernels::KeyStorage::rows;
  return {.kv_heads = shape.kv_heads,
          .group = shape.heads / shape.kv_heads,
          .head_dim = shape.head_dim,
          .value_dim = shape.value_dim,
          .can_split_keys = true,
          .storage = storage,
          .heads_adjacent = shape.paged,
          .stream_rows = stream_rows(set, {.storage = storage,
                                           .page_keys = kernels::kKeyBlock,
                                           .head_dim = shape.head_dim,
                                           .value_dim = shape.value_dim}),
          .sequences = sequences};
}

double products_flops(const WorkShape& shape) {
  return 2.0 * static_cast<double>(shape.batch * shape.heads) * counted_scores(shape) *
         static_cast<double>(shape.head_dim + shape.value_dim);
}

std::int64_t element_rows(const WorkShape& shape) {
  return shape.paged && shape.q_len > 1 ? shape.batch * shape.q_len : shape.q_len;
}

double element_bytes(const WorkShape& shape) {
  const double of_a_score =
      (shape.bias ? 4.0 * static_cast<double>(shape.heads) : 0.0) + (shape.mask ? 1.0 : 0.0);
  if (of_a_score == 0.0) return 0.0;
  return of_a_score * counted_scores(shape) *
         static_cast<double>(element_rows(shape) / shape.q_len);
}

}  // namespace rapt::tools
