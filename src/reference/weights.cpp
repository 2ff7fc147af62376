// The scalar statement of outputs from weights: those of selected rows, and their sums.
#include "reference/scalar.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt::reference {
namespace {

void select_rows(const TensorView<float, 4>& whole, const AttentionOptions& options) {
  const TensorView<float, 4>& to = options.weights;
  if (to.data == nullptr) return;
  for (std::int64_t b = 0; b < to.shape[0]; ++b) {
    for (std::int64_t h = 0; h < to.shape[1]; ++h) {
      for (std::int64_t n = 0; n < to.shape[2]; ++n) {
        const auto at = static_cast<std::size_t>(n);
        const std::int64_t i = options.weights_rows.empty() ? n : options.weights_rows[at];
        for (std::int64_t j = 0; j < to.shape[3]; ++j) to(b, h, n, j) = whole(b, h, i, j);
      }
    }
  }
}

// 9. A chain over ascending queries and, if heads are summed together, over the heads of each
// query.
void sum_rows(const TensorView<float, 4>& whole, const TensorView<float, 3>& sums) {
  if (sums.data == nullptr) return;
  const std::int64_t batches = whole.shape[0], heads = whole.shape[1], q_len = whole.shape[2];
  for (std::int64_t b = 0; b < batches; ++b) {
    for (std::int64_t n = 0; n < sums.shape[1]; ++n) {
      const std::int64_t together = heads / sums.shape[1];
      for (std::int64_t j = 0; j < sums.shape[2]; ++j) {
        float sum = 0.0f;
        for (std::int64_t i = 0; i < q_len; ++i) {
          for (std::int64_t h = n * together; h < (n + 1) * together; ++h) {
            sum = sum + whole(b, h, i, j);
          }
        }
        sums(b, n, j) = canonical(sum);
      }
    }
  }
}

void attend(TensorView<const void, 4> q, TensorView<const void, 4> k, TensorView<const void, 4> v,
            const RowScales* scales, TensorView<void, 4> out, const AttentionOptions& options) {
  if (options.weights_rows.empty() && options.weight_sums.data == nullptr) {
    attend_rows(q, k, v, scales, out, options);
    return;
  }
  // The outputs of a ragged batch may have more keys than a sequence has.
  const std::int64_t keys =
      std::max({k.shape[2], options.weights.shape[3], options.weight_sums.shape[2]});
  const TensorView<float, 4>::Index shape{q.shape[0], q.shape[1], q.shape[2], keys};
  std::vector<float> storage(static_cast<std::size_t>(TensorView<float, 4>(nullptr, shape).size()));
  AttentionOptions whole = options;
  whole.weights = {storage.data(), shape};
  attend_rows(q, k, v, scales, out, whole);
  select_rows(whole.weights, options);
  sum_rows(whole.weights, options.weight_sums);
}

}  // namespace

void attention(TensorView<const void, 4> q, TensorView<const void, 4> k,
               TensorView<const void, 4> v, TensorView<void, 4> out,
               const AttentionOptions& options) {
  attend(q, k, v, nullptr, out, options);
}

void attention_of_bytes(TensorView<const void, 4> q, TensorView<const float, 4> k,
                        TensorView<const float, 4> v, const RowScales& scales,
                        TensorView<void, 4> out, const AttentionOptions& options) {
  attend(q, k, v, &scales, out, options);
}

}  // namespace rapt::reference
