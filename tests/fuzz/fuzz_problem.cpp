#include "fuzz/fuzz_problem.hpp"

#include "core/random.hpp"
#include "reference/elements.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <iterator>
#include <limits>

namespace rapt::test {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

bool one_in(Random& random, std::int64_t n) { return random.below(n) == 0; }

/// Any size up to 300, small ones as likely as large ones; rarely 0.
std::int64_t any_size(Random& random) {
  if (one_in(random, 100)) return 0;
  const std::int64_t most = std::int64_t{1} << random.below(9);
  return std::min<std::int64_t>(most + random.below(most), 300);
}

/// Often near the borders of key blocks.
std::int64_t any_keys(Random& random) {
  switch (random.below(4)) {
    case 0:
      return 250 + random.below(14);
    case 1:
      return 1 + random.below(300);
    case 2:
      return one_in(random, 8) ? 500 + random.below(30) : 1 + random.below(40);
    default:
      return any_size(random);
  }
}

/// Halves sizes until the multiply-adds are few; keys last, since key blocks matter most.
void shrink(Shape& s, std::int64_t budget) {
  const auto work = [&s] {
    return s.batch * s.heads * (s.q_len + 1) * (s.kv_len + 1) * (s.head_dim + s.value_dim + 8);
  };
  std::int64_t* const sizes[] = {&s.q_len, &s.value_dim, &s.head_dim, &s.batch, &s.kv_len};
  for (std::size_t n = 0; work() > budget && n < 200; ++n) {
    std::int64_t& size = *sizes[n % (n < 25 ? 4 : 5)];
    size = size > 1 ? (size + 1) / 2 : size;
    if (n % 5 == 4 && s.kv_heads > 1 && s.heads % 2 == 0 && s.kv_heads % 2 == 0) {
      s.heads /= 2;
      s.kv_heads /= 2;
    }
  }
}

Shape any_shape(Random& random) {
  Shape s;
  s.batch = one_in(random, 4) ? 1 + random.below(3) : 1;
  s.kv_heads = 1 + random.below(3);
  s.heads = s.kv_heads * (1 + random.below(4));
  s.q_len = any_size(random);
  s.kv_len = any_keys(random);
  s.head_dim = std::max<std::int64_t>(any_size(random), 1);
  s.value_dim = any_size(random);
  // Some are large enough to run on several threads (inline_work).
  shrink(s, std::int64_t{1} << (one_in(random, 100) ? 22 : one_in(random, 10) ? 21 : 15));
  return s;
}

/// A decode-sized problem with many key blocks, in dims for which K and V are read in place.
Shape long_shape(Random& random) {
  const auto any_dim = [&] { return one_in(random, 6) ? 1 + random.below(16) : 16; };
  Shape s;
  s.kv_heads = one_in(random, 8) ? 2 : 1;
  s.heads = s.kv_heads * (1 + random.below(2));
  s.q_len = one_in(random, 2) ? 1 : 1 + random.below(3);
  s.kv_len = 2049 + random.below(one_in(random, 4) ? 2652 : 300);
  s.head_dim = any_dim();
  s.value_dim = any_dim();
  return s;
}

Mask any_mask(Random& random, const Shape& s) {
  Mask mask;
  if (one_in(random, 2)) mask.kind = Mask::Kind::causal;
  if (one_in(random, 3)) {
    mask.align = Mask::Align::bottom_right;
  } else {
    mask.query_offset = random.below(s.kv_len + 20) - 10;
    if (one_in(random, 100)) mask.query_offset = static_cast<std::int64_t>(random.next());
  }
  if (one_in(random, 3)) {
    const auto side = [&] { return one_in(random, 3) ? kNoWindow : random.below(s.kv_len + 4); };
    mask = mask.windowed(side(), side());
  }
  if (mask.kind == Mask::Kind::causal && mask.window_right != 0 && one_in(random, 4)) {
    mask = mask.with_prefix(random.below(s.kv_len + 4));
  }
  return mask;
}

float any_number(Random& random) {
  static constexpr float kNumbers[] = {0.0f, -0.0f, 1e-45f, -1e-40f, 1e-20f, 1.0f, 50.0f, 1e20f};
  if (one_in(random, 2)) return random.normal();
  return kNumbers[random.below(std::ssize(kNumbers))];
}

/// A mask or bias: its broadcast dimensions, and what it hides.
void draw_mask(Random& random, unsigned& broadcast, Hides& hides) {
  broadcast = static_cast<unsigned>(random.below(32));
  // Structures matter most where a query or a sequence has a row of its own.
  if (one_in(random, 2)) broadcast &= ~unsigned{kOverKeys};
  if (one_in(random, 10)) broadcast |= kKeysFirst;
  if (!one_in(random, 4)) hides = static_cast<Hides>(random.below(6));
  if (hides == Hides::padding) broadcast |= kOverQueries;
}

Spec any_spec(Random& random, const Shape& shape) {
  Spec spec;
  spec.shape = shape;
  spec.layout = static_cast<Layout>(random.below(4));
  spec.mask = any_mask(random, spec.shape);
  const auto maybe = [&random](std::int64_t n, auto& field, auto value) {
    if (one_in(random, n)) field = value;
  };
  maybe(6, spec.alibi_slope, any_number(random));
  const bool placed = spec.mask.kind == Mask::Kind::causal || spec.alibi_slope ||
                      spec.mask.window_left != kNoWindow || spec.mask.window_right != kNoWindow;
  spec.offset_per_sequence = placed && spec.mask.align == Mask::Align::offset && one_in(random, 4);
  spec.prefix_per_sequence = spec.mask.kind == Mask::Kind::causal && spec.mask.window_right != 0 &&
                             spec.mask.prefix_len == 0 && one_in(random, 8);
  maybe(5, spec.kv_lens, true);
  if (one_in(random, 3)) {
    spec.bool_mask = one_in(random, 2) ? MaskMeaning::keep : MaskMeaning::drop;
  }
  draw_mask(random, spec.bool_mask_broadcast, spec.bool_mask_hides);
  maybe(4, spec.bias, true);
  draw_mask(random, spec.bias_broadcast, spec.bias_hides);
  maybe(5, spec.rope, one_in(random, 2) ? Rope::half : Rope::interleaved);
  if (spec.shape.head_dim < 2) spec.rope.reset();
  spec.rope_whole = spec.rope && one_in(random, 2);
  spec.rope_positions = spec.rope && one_in(random, 3);
  spec.rope_rotate_keys = !spec.rope || !one_in(random, 3);
  maybe(6, spec.qk_norm, one_in(random, 2) ? 1e-6f : 0.0f);
  spec.qk_norm_weights = spec.qk_norm && one_in(random, 2);
  spec.qk_norm_keys = !spec.qk_norm || !one_in(random, 3);
  maybe(6, spec.soft_cap, 0.25f + 40.0f * std::fabs(random.normal()));
  maybe(6, spec.sink, any_number(random));
  maybe(5, spec.callback, static_cast<Callback>(1 + random.below(3)));
  maybe(6, spec.softmax_scale, any_number(random));
  spec.lse = one_in(random, 2);
  spec.weights = one_in(random, 4);
  spec.weights_rows = spec.weights && one_in(random, 2);
  maybe(5, spec.weight_sums, static_cast<WeightSums>(random.below(3)));
  maybe(6, spec.state_in, true);
  maybe(5, spec.state_out, true);
  spec.seed = random.next();
  return spec;
}

/// A problem whose forks can form a cascade: few queries, more than a key block, and no option that
/// rules out cascades. Some have a padding mask, which rules them out only as long as it is there.
void make_forkable(Spec& spec, Random& random) {
  spec.shape = {.batch = 1,
                .heads = 2 * (1 + random.below(2)),
                .kv_heads = 2,
                .q_len = 2 + random.below(12),
                .kv_len = 257 + random.below(one_in(random, 4) ? 300 : 40),
                .head_dim = 2 + random.below(20),
                .value_dim = 1 + random.below(40)};
  spec.mask = one_in(random, 4) ? Mask{} : causal();
  spec.mask.align = Mask::Align::bottom_right;
  if (one_in(random, 4)) spec.mask.window_left = 240 + random.below(60);
  spec.offset_per_sequence = spec.prefix_per_sequence = spec.kv_lens = spec.bias = false;
  spec.weights = spec.weights_rows = spec.state_in = false;
  spec.bool_mask.reset();
  spec.alibi_slope.reset();
  spec.callback = Callback::none;
  spec.weight_sums = WeightSums::none;
  if (!one_in(random, 3)) return;
  // Padding, of which the call is spared the mask: it ends after the first key block.
  spec.shape.kv_len = 400 + random.below(150);
  spec.bool_mask = MaskMeaning::keep;
  spec.bool_mask_broadcast = kOverBatch | kOverHeads | kOverQueries;
  spec.bool_mask_hides = Hides::padding;
}

/// From one special number in all tensors to one in ten elements; or all of one tensor tiny or
/// huge.
void spoil(Problem& problem, Random& random) {
  static constexpr float kSpecial[] = {std::numeric_limits<float>::quiet_NaN(),
                                       std::bit_cast<float>(0xffc12345u),
                                       kInfinity,
                                       -kInfinity,
                                       std::numeric_limits<float>::max(),
                                       std::numeric_limits<float>::lowest(),
                                       std::numeric_limits<float>::denorm_min(),
                                       -1e-41f,
                                       1e30f,
                                       0.0f,
                                       -0.0f};
  for (std::vector<float>* storage :
       {&problem.q_storage, &problem.k_storage, &problem.v_storage, &problem.bias_storage}) {
    const auto size = static_cast<std::int64_t>(storage->size());
    if (size == 0 || !one_in(random, 3)) continue;
    if (one_in(random, 4)) {
      const float scale = one_in(random, 2) ? 1e-39f : 40.0f;
      for (float& x : *storage) x *= scale;
      continue;
    }
    const std::int64_t count = one_in(random, 3) ? size / 10 : 1 + random.below(3);
    for (std::int64_t n = 0; n < count; ++n) {
      (*storage)[static_cast<std::size_t>(random.below(size))] =
          kSpecial[random.below(std::ssize(kSpecial))];
    }
  }
}

/// Whether the mask or the bias hides the key from every row of the sequence.
bool is_hidden(const Problem& problem, std::int64_t batch, std::int64_t key) {
  const auto all = [&](const auto& view, const auto& hides) {
    if (view.data == nullptr) return false;
    const std::int64_t b = view.shape[0] == 1 ? 0 : batch, j = view.shape[3] == 1 ? 0 : key;
    for (std::int64_t h = 0; h < view.shape[1]; ++h) {
      for (std::int64_t i = 0; i < view.shape[2]; ++i) {
        if (!hides(view, b, h, i, j)) return false;
      }
    }
    return true;
  };
  const BoolMask& mask = problem.options.bool_mask;
  const bool drop = mask.meaning == MaskMeaning::drop;
  const auto mask_hides = [&](const auto& view, auto... at) { return view(at...) == drop; };
  const auto bias_hides = [](const auto& view, auto... at) {
    return reference::element(view, at...) == -kInfinity;
  };
  return all(mask.values, mask_hides) || all(problem.options.bias, bias_hides);
}

/// NaN or infinity in the keys and values that a mask hides from every row.
void spoil_hidden(Problem& problem, Random& random) {
  const float x = one_in(random, 2) ? std::numeric_limits<float>::quiet_NaN() : kInfinity;
  const Shape& s = problem.spec.shape;
  for (std::int64_t b = 0; b < s.batch; ++b) {
    for (std::int64_t j = 0; j < s.kv_len; ++j) {
      if (!is_hidden(problem, b, j)) continue;
      for (std::int64_t h = 0; h < s.kv_heads; ++h) {
        for (std::int64_t d = 0; d < s.head_dim; ++d) problem.k(b, h, j, d) = x;
        for (std::int64_t d = 0; d < s.value_dim; ++d) problem.v(b, h, j, d) = x;
      }
    }
  }
}

DType any_type(Random& random) {
  constexpr DType kTypes[] = {DType::f32, DType::bf16, DType::f16};
  return kTypes[random.below(3)];
}

Types any_types(Layout layout, Random& random) {
  Types types{any_type(random), any_type(random), any_type(random), any_type(random),
              any_type(random)};
  if (layout == Layout::packed || one_in(random, 2)) types.k = types.v = types.q;
  return types;
}

Spec spec_of_seed(std::uint64_t seed, Random& random) {
  Spec spec = any_spec(random, seed % 41 == 7 ? long_shape(random) : any_shape(random));
  if (seed % 32 == 2) make_forkable(spec, random);
  if (seed % 3 != 0) spec.types = any_types(spec.layout, random);
  return spec;
}

}  // namespace

Problem fuzz_problem(std::uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  Problem problem(spec_of_seed(seed, random));
  if (one_in(random, 3)) spoil(problem, random);
  if (one_in(random, 3)) spoil_hidden(problem, random);
  problem.set_types();
  return problem;
}

Problem ordinary_problem(std::uint64_t seed) {
  Random random(seed * 0x9e3779b97f4a7c15u + 1);
  Spec spec = spec_of_seed(seed, random);
  if (spec.alibi_slope) spec.alibi_slope = std::ldexp(1.0f, -static_cast<int>(random.below(9)));
  if (spec.sink) spec.sink = random.normal();
  if (spec.softmax_scale) spec.softmax_scale = one_in(random, 2) ? 2.0f : 0.0f;
  if (spec.qk_norm) spec.qk_norm = 1e-6f;
  if (spec.callback == Callback::poison) spec.callback = Callback::bend;
  Problem problem(spec);
  const bool lowest = one_in(random, 2);
  for (float& bias : problem.bias_storage) {
    if (lowest && bias == -kInfinity) bias = std::numeric_limits<float>::lowest();
  }
  problem.set_types();
  return problem;
}

}  // namespace rapt::test
