// Rows more than 2^31 and 2^32 elements apart, in memory that is mostly never accessed, have the
// bits of the same rows packed.
#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "rapt/rapt.hpp"
#include "support/on_every_isa.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <sys/mman.h>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kRows = 4, kWidth = 24, kFar = (std::int64_t{1} << 31) + 48;
static_assert((kRows - 1) * kFar > std::int64_t{1} << 32);

/// Addresses for kRows rows that are kFar floats apart; only pages that are accessed get memory.
class FarMemory {
 public:
  FarMemory()
      : memory_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {
    REQUIRE(memory_ != MAP_FAILED);
  }
  ~FarMemory() { munmap(memory_, kBytes); }
  FarMemory(const FarMemory&) = delete;
  FarMemory& operator=(const FarMemory&) = delete;

  float* data() const { return static_cast<float*>(memory_); }

 private:
  static constexpr std::size_t kBytes = sizeof(float) * kRows * kFar;
  void* memory_;
};

/// Calls f(element of x, element of y) for all elements.
template <int Rank, class F>
void for_elements(const TensorView<float, Rank>& x, const TensorView<float, Rank>& y, const F& f) {
  const std::int64_t rest = x.size();
  for (std::int64_t n = 0; n < rest; ++n) {
    std::int64_t left = n, at_x = 0, at_y = 0;
    for (std::size_t i = Rank; i-- > 0;) {
      at_x += left % x.shape[i] * x.strides[i];
      at_y += left % x.shape[i] * y.strides[i];
      left /= x.shape[i];
    }
    f(x.data[at_x], y.data[at_y]);
  }
}

/// The same tensor twice: dense, and with the rows of dimension `dim` far apart. Tensors
/// `of_options` get it only in a full test: an emulator tracks every page of a mapping.
template <int Rank>
struct Pair {
  Pair(const std::array<std::int64_t, Rank>& shape, std::size_t dim, std::uint64_t seed,
       bool of_options = false)
      : floats(normal_floats(count(shape), seed)), dense(floats.data(), shape) {
    if (of_options && quick()) {
      copy = floats;
      far = TensorView<float, Rank>(copy.data(), shape);
      return;
    }
    memory.emplace();
    auto near = shape;
    near[dim] = 1;
    far = TensorView<float, Rank>(memory->data(), near);
    far.shape = shape;
    far.strides[dim] = kFar;
    for_elements(far, dense, [](float& to, float from) { to = from; });
  }
  static std::size_t count(const std::array<std::int64_t, Rank>& shape) {
    std::size_t n = 1;
    for (const std::int64_t extent : shape) n *= static_cast<std::size_t>(extent);
    return n;
  }
  bool same() const {
    std::vector<float> got(floats.size());
    for_elements(TensorView<float, Rank>(got.data(), dense.shape), far,
                 [](float& to, float from) { to = from; });
    return same_bits(got, floats);
  }

  std::vector<float> floats;
  std::vector<float> copy;
  std::optional<FarMemory> memory;
  TensorView<float, Rank> dense, far;
};

using Extents2 = std::array<std::int64_t, 2>;
using Extents3 = std::array<std::int64_t, 3>;
using Extents4 = std::array<std::int64_t, 4>;

/// All tensors of a call.
struct AttentionCall {
  /// dim: 1 to spread the heads, 2 to spread the tokens.
  explicit AttentionCall(std::size_t dim)
      : q({1, kRows, kRows, kWidth}, dim, 1),
        k({1, kHeads, kRows, kWidth}, dim, 2),
        v({1, kHeads, kRows, kWidth}, dim, 3),
        bias({1, kRows, kRows, kRows}, dim, 4, true),
        out({1, kRows, kRows, kWidth}, dim, 5),
        lse({1, kRows, kRows}, dim, 6, true),
        sums({1, kRows, kRows}, dim, 7, true),
        m({1, kRows, kRows}, dim, 8, true),
        l({1, kRows, kRows}, dim, 9, true),
        weights({1, kRows, kRows, kRows}, dim, 10, true),
        o({1, kRows, kRows, kWidth}, dim, 11, true) {}

  AttentionOptions options(bool far) const {
    const auto of = [far](const auto& pair) { return far ? pair.far : pair.dense; };
    return {.mask = causal(),
            .bias = of(bias),
            .lse = of(lse),
            .weights = of(weights),
            .weight_sums = of(sums),
            .state_out = {of(m), of(l), of(o)}};
  }
  bool same() const {
    return out.same() && lse.same() && sums.same() && m.same() && l.same() && weights.same() &&
           o.same();
  }

  static constexpr std::int64_t kHeads = 2;
  Pair<4> q, k, v, bias, out;
  Pair<3> lse, sums, m, l;
  Pair<4> weights, o;
};

/// [1, heads, rows, dim] as packed rows [rows, heads, dim].
TensorView<float, 3> packed(const TensorView<float, 4>& view) {
  return {view.data,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}

}  // namespace

TEST_CASE("rows more than 2^32 elements apart have the bits of adjacent rows") {
  on_every_isa([] {
    for (const std::size_t dim : {1, 2}) {
      CAPTURE(dim);
      const AttentionCall call(dim);
      attention(call.q.dense, call.k.dense, call.v.dense, call.out.dense, call.options(false));
      attention(call.q.far, call.k.far, call.v.far, call.out.far, call.options(true));
      CHECK(call.same());
      const std::array<std::int64_t, 2> offsets{0, kRows};
      attention(packed(call.q.far), packed(call.k.far), packed(call.v.far), packed(call.out.far),
                {offsets, offsets}, call.options(true));
      CHECK(call.same());
    }
  });
}

TEST_CASE("pages and appended tokens more than 2^32 elements apart are read correctly") {
  on_every_isa([] {
    const std::int64_t heads = 2;
    const Pair<3> q({kRows, heads, kWidth}, 0, 1);
    const Pair<4> k({kRows, 1, heads, kWidth}, 0, 2), v({kRows, 1, heads, kWidth}, 0, 3);
    Pair<3> out({kRows, heads, kWidth}, 0, 4);
    const std::vector<std::int64_t> rows{0, kRows}, lens{kRows};
    const std::vector<std::int32_t> table{2, 0, 3, 1};
    const auto call = [&](const TensorView<float, 4>& keys, const TensorView<float, 4>& values,
                          const TensorView<float, 3>& to) {
      attention(q.far,
                {.k = keys, .v = values, .table = {{table.data(), {1, kRows}}}, .kv_lens = lens},
                rows, to, {.mask = causal()});
    };
    call(k.dense, v.dense, out.dense);
    call(k.far, v.far, out.far);
    CHECK(out.same());
    for (const bool far : {false, true}) {
      KvCache cache({.kv_heads = heads, .head_dim = kWidth, .page_tokens = 32});
      const std::vector<std::int64_t> sequences{cache.add()};
      const auto tokens = [&](const Pair<4>& pair) {
        const TensorView<float, 4>& pages = far ? pair.far : pair.dense;
        return TensorView<const float, 3>(pages.data, {kRows, heads, kWidth},
                                          {pages.strides[0], pages.strides[2], 1});
      };
      cache.append(sequences[0], tokens(k), tokens(v));
      attention(q.far, cache, {sequences, rows}, far ? out.far : out.dense, {.mask = causal()});
    }
    CHECK(out.same());
  });
}

TEST_CASE("row functions accept rows more than 2^32 elements apart") {
  const RopeTable table(Rope::half, {.rotary_dims = kWidth, .positions = kRows});
  on_every_isa([&] {
    const Pair<2> x({kRows, kWidth}, 0, 1), w({kRows, kWidth}, 0, 2);
    Pair<2> y({kRows, kWidth}, 0, 3);
    rms_norm(x.dense, y.dense);
    rms_norm(x.far, y.far);
    CHECK(y.same());
    layer_norm(x.dense, y.dense);
    layer_norm(x.far, y.far);
    CHECK(y.same());
    softmax(x.dense, y.dense);
    softmax(x.far, y.far);
    CHECK(y.same());
    const auto as_4 = [](const TensorView<float, 2>& view) {
      return TensorView<float, 4>(view.data, {1, 1, kRows, kWidth}, {0, 0, view.strides[0], 1});
    };
    apply_rope(as_4(x.dense), as_4(y.dense), table);
    apply_rope(as_4(x.far), as_4(y.far), table);
    CHECK(y.same());
    const std::vector<std::int64_t> ids{3, 0, 2, 1};
    embedding_lookup(x.dense, ids, y.dense);
    embedding_lookup(x.far, ids, y.far);
    CHECK(y.same());
    Pair<2> z({kRows, kRows}, 0, 4);
    Linear(w.dense).forward(x.dense, z.dense);
    Linear(w.far).forward(x.far, z.far);
    CHECK(z.same());
  });
}

}  // namespace rapt::test
