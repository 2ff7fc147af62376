#include "support/problems.hpp"

#include "support/problem_rows.hpp"
#include "support/typed.hpp"

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kUnwritten = -987654.25f;
/// Elements before and after a tensor; odd, so that no row is aligned to a vector.
constexpr std::int64_t kMargin = 37;

using View = TensorView<float, 4>;

/// A view [batch, heads, tokens, dim] in `layout` over storage that is filled with `fill`.
View allocate(std::vector<float>& storage, const View::Index& shape, Layout layout, float fill) {
  const auto [batch, heads, tokens, dim] = shape;
  const std::int64_t row = layout == Layout::padded ? dim + 5 : dim;
  const std::int64_t token_slots = layout == Layout::padded ? tokens + 1 : tokens;
  storage.assign(static_cast<std::size_t>(batch * heads * token_slots * row + 2 * kMargin), fill);
  float* first = storage.data() + kMargin;
  if (layout == Layout::bshd || layout == Layout::packed) {
    return View(first, {batch, tokens, heads, dim}).swapped(1, 2);
  }
  return View(first, shape, {heads * token_slots * row, token_slots * row, row, 1});
}

/// [batch, heads, tokens] in `layout`.
TensorView<float, 3> allocate_rows(std::vector<float>& storage, const Shape& s, Layout layout,
                                   float fill) {
  const View all = allocate(storage, {s.batch, s.heads, s.q_len, 1}, layout, fill);
  return {all.data, {s.batch, s.heads, s.q_len}, {all.strides[0], all.strides[1], all.strides[2]}};
}

AttentionState<float> allocate_state(StateStorage& storage, const Spec& spec, float fill) {
  const Shape& s = spec.shape;
  return {allocate_rows(storage.m, s, spec.layout, fill),
          allocate_rows(storage.l, s, spec.layout, fill),
          allocate(storage.o, {s.batch, s.heads, s.q_len, s.value_dim}, spec.layout, fill)};
}

/// The queries whose weights are written: every third, including the last one.
std::vector<std::int64_t> weights_rows_of(const Spec& spec) {
  std::vector<std::int64_t> rows;
  const std::int64_t q_len = spec.weights_rows ? spec.shape.q_len : 0;
  for (std::int64_t i = (q_len + 2) % 3; i < q_len; i += 3) rows.push_back(i);
  return rows;
}

void fill_normal(const View& view, Random& random) {
  for (std::int64_t b = 0; b < view.shape[0]; ++b) {
    for (std::int64_t h = 0; h < view.shape[1]; ++h) {
      for (std::int64_t i = 0; i < view.shape[2]; ++i) {
        for (std::int64_t d = 0; d < view.shape[3]; ++d) view(b, h, i, d) = random.normal();
      }
    }
  }
}

void make_tensors(Problem& problem) {
  const Shape& s = problem.spec.shape;
  const Layout layout = problem.spec.layout;
  if (layout == Layout::packed) {
    const View whole = allocate(problem.q_storage,
                                {s.batch, s.heads + 2 * s.kv_heads, std::max(s.q_len, s.kv_len),
                                 std::max(s.head_dim, s.value_dim)},
                                layout, kNaN);
    problem.q = whole.sliced(1, 0, s.heads).sliced(2, 0, s.q_len).sliced(3, 0, s.head_dim);
    const View kv = whole.sliced(1, s.heads, 2 * s.kv_heads).sliced(2, 0, s.kv_len);
    problem.k = kv.sliced(1, 0, s.kv_heads).sliced(3, 0, s.head_dim);
    problem.v = kv.sliced(1, s.kv_heads, s.kv_heads).sliced(3, 0, s.value_dim);
  } else {
    problem.q = allocate(problem.q_storage, {s.batch, s.heads, s.q_len, s.head_dim}, layout, kNaN);
    problem.k =
        allocate(problem.k_storage, {s.batch, s.kv_heads, s.kv_len, s.head_dim}, layout, kNaN);
    problem.v =
        allocate(problem.v_storage, {s.batch, s.kv_heads, s.kv_len, s.value_dim}, layout, kNaN);
  }
  Random random(problem.spec.seed);
  for (const View& view : {problem.q, problem.k, problem.v}) fill_normal(view, random);
}

/// [batch, heads, q_len, kv_len] with the broadcast dimensions shrunk to 1.
View::Index broadcast_extents(const Shape& s, unsigned broadcast) {
  View::Index shape{s.batch, s.heads, s.q_len, s.kv_len};
  for (std::size_t dim = 0; dim < 4; ++dim) {
    if ((broadcast & (1u << dim)) != 0) shape[dim] = std::min(shape[dim], std::int64_t{1});
  }
  return shape;
}

/// Dense over the broadcast extents, or with the keys outermost; with kByStride, the full shape
/// with stride 0 in broadcast dimensions.
template <class T>
TensorView<T, 4> broadcast_view(T* first, const Shape& s, unsigned broadcast) {
  const View::Index extents = broadcast_extents(s, broadcast);
  TensorView<T, 4> view(first, extents);
  if ((broadcast & kKeysFirst) != 0) {
    const auto [batch, heads, queries, keys] = extents;
    view = TensorView<T, 4>(first, {keys, batch, heads, queries});
    view = view.swapped(0, 1).swapped(1, 2).swapped(2, 3);
  }
  if ((broadcast & kByStride) != 0) {
    view.shape = {s.batch, s.heads, s.q_len, s.kv_len};
    for (std::size_t dim = 0; dim < 4; ++dim) {
      if ((broadcast & (1u << dim)) != 0) view.strides[dim] = 0;
    }
  }
  return view;
}

/// Calls visit(row, place) for the elements of a mask or bias with these dimensions broadcast, in
/// the order of broadcast_view()'s memory.
template <class Visit>
void for_elements(const Shape& s, unsigned broadcast, const Visit& visit) {
  const auto [batch, heads, queries, keys] = broadcast_extents(s, broadcast);
  const std::int64_t rows = batch * heads * queries;
  const bool keys_first = (broadcast & kKeysFirst) != 0;
  for (std::int64_t i = 0; i < rows * keys; ++i) {
    const std::int64_t row = keys_first ? i % rows : i / keys;
    const std::int64_t key = keys_first ? i / rows : i % keys;
    const std::int64_t query = row % queries, head = row / queries % heads;
    visit(row, ScorePlace{row / queries / heads, head, query, key, queries, keys});
  }
}

void make_bool_mask(Problem& problem) {
  const Spec& spec = problem.spec;
  Random random(spec.seed + 1000);
  const bool keep = *spec.bool_mask == MaskMeaning::keep;
  for_elements(spec.shape, spec.bool_mask_broadcast, [&](std::int64_t row, const ScorePlace& at) {
    const bool hidden = hides_key(spec.bool_mask_hides, spec.seed, random, row, at);
    problem.mask_storage.push_back(hidden != keep ? 1 : 0);
  });
  problem.mask_storage.push_back(0);  // gives the mask an address even without elements
  const bool* first = reinterpret_cast<const bool*>(problem.mask_storage.data());
  problem.options.bool_mask = {broadcast_view(first, spec.shape, spec.bool_mask_broadcast),
                               *spec.bool_mask};
}

void make_bias(Problem& problem) {
  const Spec& spec = problem.spec;
  Random random(spec.seed + 2000);
  for_elements(spec.shape, spec.bias_broadcast, [&](std::int64_t row, const ScorePlace& at) {
    const float bias = 2.0f * random.normal();
    const bool hidden = hides_key(spec.bias_hides, spec.seed, random, row + 4, at);
    problem.bias_storage.push_back(hidden ? -kInfinity : bias);
  });
  problem.bias_storage.push_back(kNaN);
  problem.bias = broadcast_view(problem.bias_storage.data(), spec.shape, spec.bias_broadcast);
}

void make_head_options(Problem& problem) {
  const Spec& spec = problem.spec;
  for (std::int64_t h = 0; h < spec.shape.heads; ++h) {
    const int n = static_cast<int>(h);
    if (spec.alibi_slope) problem.alibi_slopes.push_back(std::ldexp(*spec.alibi_slope, -n));
    const float sink = spec.sink.value_or(0.0f) + static_cast<float>(h);
    if (spec.sink) problem.sinks.push_back(h % 2 == 0 ? sink : -kInfinity);
  }
  problem.options.alibi_slopes = problem.alibi_slopes;
  problem.options.sinks = problem.sinks;
}

void make_state(Problem& problem) {
  const Shape& s = problem.spec.shape;
  const AttentionState<float> state = allocate_state(problem.state_storage, problem.spec, kNaN);
  Random random(problem.spec.seed + 3000);
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t h = 0; h < s.heads; ++h) {
      for (std::int64_t i = 0; i < s.q_len; ++i) {
        const bool empty = (b + h + i) % 4 == 2;
        state.m(b, h, i) = empty ? -kInfinity : 3.0f * random.normal();
        state.l(b, h, i) = empty ? 0.0f : 1.0f + 10.0f * std::fabs(random.normal());
        for (std::int64_t d = 0; d < s.value_dim; ++d) {
          state.o(b, h, i, d) = empty ? 0.0f : 5.0f * random.normal();
        }
      }
    }
  }
  problem.options.state_in = state;
}

/// The callback's result for one element of a tile.
float after_callback(Callback callback, float s, std::int64_t query, std::int64_t position,
                     std::int64_t key, std::int64_t head_and_batch) {
  const auto far = static_cast<float>(key - position);
  const std::int64_t spread = 7 * key + 3 * query + head_and_batch;
  switch (callback) {
    case Callback::none:
      break;
    case Callback::bend:
      s = std::max(s, std::numeric_limits<float>::lowest());  // a key that is not seen has -inf
      return s / (1.0f + 0.125f * std::fabs(s)) + 0.01f * far + static_cast<float>(head_and_batch);
    case Callback::hide:
      return spread % 5 == 0 ? -kInfinity : s;
    case Callback::poison:
      if (spread % 89 == 13) return kNaN;
      if (spread % 31 == 3) return std::numeric_limits<float>::lowest();
      return spread % 507 == 100 ? kInfinity : s;
  }
  return s;
}

template <Callback kind>
void on_tile(const ScoreTile& tile) {
  for (std::int64_t r = 0; r < tile.rows; ++r) {
    for (std::int64_t c = 0; c < tile.columns; ++c) {
      float& s = tile.scores[r * tile.row_stride + c];
      s = after_callback(kind, s, tile.first_query + r, tile.first_position + r, tile.first_key + c,
                         tile.head + 2 * tile.batch);
    }
  }
}

ScoreCallback score_callback(Callback callback) {
  switch (callback) {
    case Callback::none:
      break;
    case Callback::bend:
      return on_tile<Callback::bend>;
    case Callback::hide:
      return on_tile<Callback::hide>;
    case Callback::poison:
      return on_tile<Callback::poison>;
  }
  return {};
}

const char* layout_name(Layout layout) {
  switch (layout) {
    case Layout::bhsd:
      return "bhsd";
    case Layout::bshd:
      return "bshd";
    case Layout::packed:
      return "packed";
    case Layout::padded:
      return "padded";
  }
  return "?";
}

std::string describe_mask(const Mask& mask) {
  const bool causal = mask.kind == Mask::Kind::causal;
  std::string text = causal ? " causal" : "";
  if (mask.align == Mask::Align::bottom_right) {
    text += " bottom-right";
  } else if (causal || mask.query_offset != 0) {
    text += " offset " + std::to_string(mask.query_offset);
  }
  if (mask.window_left != kNoWindow || mask.window_right != kNoWindow) {
    text += " window " + std::to_string(mask.window_left) + ", ";
    text += std::to_string(mask.window_right);
  }
  if (mask.prefix_len != 0) text += " prefix " + std::to_string(mask.prefix_len);
  return text;
}

}  // namespace

std::string describe(const Spec& spec) {
  const Shape& s = spec.shape;
  std::string text = "batch " + std::to_string(s.batch) + " heads " + std::to_string(s.heads) +
                     "/" + std::to_string(s.kv_heads) + " q_len " + std::to_string(s.q_len) +
                     " kv_len " + std::to_string(s.kv_len) + " dims " + std::to_string(s.head_dim) +
                     "/" + std::to_string(s.value_dim) + " " + layout_name(spec.layout);
  text += describe_mask(spec.mask);
  if (spec.offset_per_sequence) text += " offset per sequence";
  if (spec.prefix_per_sequence) text += " prefix per sequence";
  if (spec.kv_lens) text += " kv_lens";
  if (spec.bool_mask) {
    text += *spec.bool_mask == MaskMeaning::keep ? " keep/" : " drop/";
    text += std::to_string(spec.bool_mask_broadcast) + "/";
    text += std::to_string(static_cast<int>(spec.bool_mask_hides));
  }
  if (spec.bias) {
    text += " bias/" + std::to_string(spec.bias_broadcast) + "/";
    text += std::to_string(static_cast<int>(spec.bias_hides));
  }
  if (spec.rope) text += *spec.rope == Rope::half ? " rope half" : " rope interleaved";
  if (spec.rope_whole) text += " of all dims";
  if (spec.rope_positions) text += " own positions";
  if (!spec.rope_rotate_keys) text += " keys rotated";
  if (spec.qk_norm) text += " qk_norm " + std::to_string(*spec.qk_norm);
  if (spec.qk_norm_weights) text += " by weights";
  if (!spec.qk_norm_keys) text += " of q alone";
  if (spec.soft_cap) text += " soft_cap " + std::to_string(*spec.soft_cap);
  if (spec.alibi_slope) text += " alibi " + std::to_string(*spec.alibi_slope);
  if (spec.sink) text += " sink " + std::to_string(*spec.sink);
  if (spec.callback != Callback::none) {
    text += " callback " + std::to_string(static_cast<int>(spec.callback));
  }
  if (spec.softmax_scale) text += " scale " + std::to_string(*spec.softmax_scale);
  if (spec.lse) text += " lse";
  if (spec.weights) text += " weights";
  if (spec.weights_rows) text += " of some rows";
  if (spec.weight_sums != WeightSums::none) {
    text += spec.weight_sums == WeightSums::per_head ? " sums" : " sums per kv head";
  }
  if (spec.state_in) text += " state in";
  if (spec.state_out) text += " state out";
  for (const auto& [name, type] :
       {std::pair("q", spec.types.q), std::pair("k", spec.types.k), std::pair("v", spec.types.v),
        std::pair("out", spec.types.out), std::pair("bias", spec.types.bias)}) {
    if (type != DType::f32) text += std::string(" ") + name + " " + std::string(dtype_name(type));
  }
  return text + " seed " + std::to_string(spec.seed);
}

Problem::Problem(const Spec& spec_) : spec(spec_) {
  make_tensors(*this);
  const Shape& s = spec.shape;
  options.mask = spec.mask;
  options.softmax_scale = spec.softmax_scale;
  options.soft_cap = spec.soft_cap;
  options.score_callback = score_callback(spec.callback);
  for (std::int64_t b = 0; b < s.batch; ++b) {
    // The first sequence has fewer keys, the second all, the third none, and so on.
    kv_lens.push_back(b % 3 == 0 ? s.kv_len * 2 / 3 : b % 3 == 1 ? s.kv_len : 0);
    query_offsets.push_back(b % 2 == 0 ? s.kv_len / 2 : -1);
    prefix_lens.push_back(b % 3 == 0 ? s.kv_len / 3 : b % 3 == 1 ? 0 : s.kv_len + 1);
  }
  if (spec.kv_lens) options.kv_lens = kv_lens;
  if (spec.offset_per_sequence) options.mask.query_offsets = query_offsets;
  if (spec.prefix_per_sequence) options.mask.prefix_lens = prefix_lens;
  make_head_options(*this);
  make_row_options(*this);
  if (spec.bool_mask) make_bool_mask(*this);
  if (spec.bias) make_bias(*this);
  if (spec.state_in) make_state(*this);
  weights_rows = weights_rows_of(spec);
  set_types();
}

void Problem::set_types() {
  const Types& types = spec.types;
  const bool packed = spec.layout == Layout::packed;  // q, k and v in one storage of one type
  std::vector<float>& k_floats = packed ? q_storage : k_storage;
  std::vector<float>& v_floats = packed ? q_storage : v_storage;
  round_to(types.q, q_storage);
  round_to(types.k, k_floats);
  round_to(types.v, v_floats);
  round_to(types.bias, bias_storage);
  typed_q = typed_view(q, q_storage, types.q, q_memory_);
  typed_k = typed_view(k, k_floats, types.k, k_memory_);
  typed_v = typed_view(v, v_floats, types.v, v_memory_);
  options.bias = typed_view(bias, bias_storage, types.bias, bias_memory_);
}

Outputs::Outputs(const Spec& spec, std::int64_t sequences) {
  const Shape& s = spec.shape;
  out = allocate(out_storage, {s.batch, s.heads, s.q_len, s.value_dim}, spec.layout, kUnwritten);
  typed_out = out;
  if (spec.types.out != DType::f32) {
    out_memory_.assign(out_storage.size(), 0x7dab);  // no result: of f16 another NaN
    typed_out = {out_memory_.data() + (out.data - out_storage.data()), spec.types.out, out.shape,
                 out.strides};
  }
  if (spec.lse) lse = allocate_rows(lse_storage, s, spec.layout, kUnwritten);
  if (spec.weights) {
    const auto some = static_cast<std::int64_t>(weights_rows_of(spec).size());
    const std::int64_t rows = some > 0 ? some : s.q_len;
    weights =
        allocate(weights_storage, {s.batch, s.heads, rows, s.kv_len}, spec.layout, kUnwritten);
  }
  if (spec.weight_sums != WeightSums::none) {
    Shape sums = s;
    if (spec.weight_sums == WeightSums::per_kv_head) sums.heads = s.kv_heads;
    sums.q_len = s.kv_len;
    sums.batch = sequences;
    weight_sums = allocate_rows(sums_storage, sums, spec.layout, kUnwritten);
  }
  if (spec.state_out) state = allocate_state(state_storage, spec, kUnwritten);
}

void Outputs::widen() {
  for (std::size_t i = 0; i < out_memory_.size(); ++i) {
    out_storage[i] = widened_bits(out_memory_[i], typed_out.dtype);
  }
}

TensorView<float, 3> sums_of(const TensorView<float, 3>& sums, std::size_t s) {
  return sums.data == nullptr ? sums : sums.sliced(0, static_cast<std::int64_t>(s), 1);
}

void write_to(const Outputs& outputs, AttentionOptions& options) {
  options.lse = outputs.lse;
  options.weights = outputs.weights;
  options.weight_sums = outputs.weight_sums;
  options.state_out = outputs.state;
}

Outputs run(AttentionFunction& function, const Problem& problem) {
  Outputs outputs(problem.spec);
  AttentionOptions options = problem.options;
  options.weights_rows = problem.weights_rows;
  write_to(outputs, options);
  function(problem.typed_q, problem.typed_k, problem.typed_v, outputs.typed_out, options);
  outputs.widen();
  return outputs;
}

bool same_bits(const Outputs& x, const Outputs& y) {
  return same_bits(x.out_storage, y.out_storage) && same_bits(x.lse_storage, y.lse_storage) &&
         same_bits(x.weights_storage, y.weights_storage) &&
         same_bits(x.sums_storage, y.sums_storage) &&
         same_bits(x.state_storage.m, y.state_storage.m) &&
         same_bits(x.state_storage.l, y.state_storage.l) &&
         same_bits(x.state_storage.o, y.state_storage.o);
}

}  // namespace rapt::test
