// Three passes over all row tiles and key blocks of a head.
#include "unfused.hpp"

#include "attention/base_2.hpp"
#include "attention/plan.hpp"
#include "attention/sequences.hpp"
#include "attention/tensor_keys.hpp"

#include <algorithm>
#include <cmath>

namespace rapt::benchmarks {
namespace {

using kernels::kKeyBlock;
using kernels::kLanes;
using kernels::kPanel;
using tools::FloatBuffer;

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

FloatBuffer zeros(std::int64_t size) {
  FloatBuffer buffer(static_cast<std::size_t>(size));
  std::ranges::fill(buffer.values(), 0.0f);
  return buffer;
}

}  // namespace

Unfused::Unfused(const UnfusedShape& shape, const kernels::KernelSet& kernels)
    : shape_(shape),
      set_(kernels),
      blocks_(ceil_div(shape.kv_len, kKeyBlock)),
      row_tiles_(ceil_div(shape.q_len, kernels.tiles.rows)),
      q_tile_(ceil_div(shape.head_dim, kLanes) * kLanes * kernels.tiles.rows),
      columns_(ceil_div(shape.head_dim, kernels.tiles.columns) * kernels.tiles.columns),
      q_(zeros(row_tiles_ * q_tile_)),
      k_(zeros(ceil_div(shape.kv_len, kPanel) * kPanel * shape.head_dim)),
      v_(zeros(shape.kv_len * columns_)),
      scores_(zeros(row_tiles_ * blocks_ * row_tile_scores())),
      m_(zeros(row_tiles_ * blocks_ * kMaxRows)),
      l_(zeros(row_tiles_ * blocks_ * kMaxRows)),
      o_(zeros(row_tiles_ * kernels.tiles.rows * columns_)),
      states_(static_cast<std::size_t>(row_tiles_)) {}

std::int64_t Unfused::rows_at(std::int64_t row) const {
  return std::min<std::int64_t>(set_.tiles.rows, shape_.q_len - row * set_.tiles.rows);
}

std::int64_t Unfused::keys_at(std::int64_t block) const {
  return std::min<std::int64_t>(kKeyBlock, shape_.kv_len - block * kKeyBlock);
}

float* Unfused::scores_of(std::int64_t row, std::int64_t block) {
  return scores_.data() + (row * blocks_ + block) * row_tile_scores();
}

void Unfused::call(const float* q, const float* k, const float* v, float* out) {
  check_and_plan(q, k, v, out);
  for (std::int64_t head = 0; head < shape_.heads; ++head) {
    const std::int64_t queries = head * shape_.q_len * shape_.head_dim;
    const std::int64_t keys = head * shape_.kv_len * shape_.head_dim;
    pack(q + queries, k + keys, v + keys);
    all_scores();
    all_weights();
    all_values(out + queries);
  }
}

/// Validation and planning, the first step of any way of computing attention().
void Unfused::check_and_plan(const float* q, const float* k, const float* v, float* out) {
  using Shape = TensorView<const float, 4>::Index;
  const Shape queries{1, shape_.heads, shape_.q_len, shape_.head_dim};
  const Shape keys{1, shape_.heads, shape_.kv_len, shape_.head_dim};
  const TensorView<const float, 4> q_view(q, queries), k_view(k, keys);
  const AttentionOptions options;
  sequences_.clear();
  AttentionProblem problem{.tensors = {q_view, {}, {}, {out, queries}},
                           .options = options,
                           .sequences = sequences_,
                           .addresses = addresses_};
  validate(problem, TensorKeys(k_view, {v, keys}));
  make_plan({.kv_heads = shape_.heads,
             .group = 1,
             .head_dim = shape_.head_dim,
             .value_dim = shape_.head_dim,
             .can_split_keys = true,
             .sequences = sequences_.plan},
            item_sizes(set_, {}), 1, plan_);
}

/// V is copied only if its width is not a multiple of the column tile; otherwise it is read in
/// place.
void Unfused::pack(const float* q, const float* k, const float* v) {
  const float scale = to_base_2(1.0 / std::sqrt(static_cast<double>(shape_.head_dim)));
  for (std::int64_t row = 0; row < row_tiles_; ++row) {
    set_.pack_rows({q + row * set_.tiles.rows * shape_.head_dim, shape_.head_dim, rows_at(row),
                    shape_.head_dim, scale, q_.data() + row * q_tile_});
  }
  set_.pack_keys({.k = k,
                  .k_stride = shape_.head_dim,
                  .first = 0,
                  .keys = shape_.kv_len,
                  .head_dim = shape_.head_dim,
                  .panels = k_.data()});
  values_ = v;
  if (columns_ == shape_.head_dim) return;
  for (std::int64_t j = 0; j < shape_.kv_len; ++j) {
    std::copy_n(v + j * shape_.head_dim, shape_.head_dim, v_.data() + j * columns_);
  }
  values_ = v_.data();
}

void Unfused::all_scores() {
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (std::int64_t row = 0; row < row_tiles_; ++row) {
      set_.scores({q_.data() + row * q_tile_, k_.data() + block * kKeyBlock * shape_.head_dim,
                   shape_.head_dim, rows_at(row), keys_at(block), scores_of(row, block)});
    }
  }
}

void Unfused::all_weights() {
  for (std::int64_t row = 0; row < row_tiles_; ++row) {
    for (std::int64_t block = 0; block < blocks_; ++block) {
      const std::int64_t keys = keys_at(block);
      for (std::int64_t r = 0; r < rows_at(row); ++r) {
        kernels::SoftmaxArgs args{scores_of(row, block) + r * kLanes, 0, keys, keys, 0.0f, 0.0f};
        set_.softmax(args);
        m_.data()[(row * blocks_ + block) * kMaxRows + r] = args.m;
        l_.data()[(row * blocks_ + block) * kMaxRows + r] = args.l;
      }
    }
  }
}

/// Folds block after block into the state (m, l, o) of every row (docs/arithmetic.md).
void Unfused::all_values(float* out) {
  for (State& state : states_) state = State();
  std::ranges::fill(o_.values(), 0.0f);
  for (std::int64_t block = 0; block < blocks_; ++block) {
    for (std::int64_t row = 0; row < row_tiles_; ++row) {
      State& state = states_[static_cast<std::size_t>(row)];
      const std::int64_t at = (row * blocks_ + block) * kMaxRows;
      fold(state, m_.data() + at, l_.data() + at, rows_at(row));
      set_.values({scores_of(row, block), values_ + block * kKeyBlock * columns_, columns_, kPanel,
                   keys_at(block), rows_at(row), columns_, state.a.data(), state.b.data(),
                   o_.data() + row * set_.tiles.rows * columns_, columns_});
    }
  }
  for (std::int64_t row = 0; row < shape_.q_len; ++row) {
    const State& state = states_[static_cast<std::size_t>(row / set_.tiles.rows)];
    const float factor = 1.0f / state.l[static_cast<std::size_t>(row % set_.tiles.rows)];
    const float* const from = o_.data() + row * columns_;
    float* const to = out + row * shape_.head_dim;
    for (std::int64_t c = 0; c < shape_.head_dim; ++c) to[c] = from[c] * factor;
  }
}

void Unfused::fold(State& state, const float* block_m, const float* block_l,
                   std::int64_t rows) const {
  const auto count = static_cast<std::size_t>(rows);
  for (std::size_t r = 0; r < count; ++r) {
    const float top = std::max(state.m[r], block_m[r]);
    state.a[r] = state.m[r] - top;
    state.b[r] = block_m[r] - top;
    state.m[r] = top;
  }
  set_.exp2(state.a.data(), state.a.data(), rows);
  set_.exp2(state.b.data(), state.b.data(), rows);
  for (std::size_t r = 0; r < count; ++r) {
    state.l[r] = std::fma(state.l[r], state.a[r], block_l[r] * state.b[r]);
  }
}

}  // namespace rapt::benchmarks
