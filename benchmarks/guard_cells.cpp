#include "guard_cells.hpp"

#include "rapt/error.hpp"
#include "rapt/kv_cache.hpp"
#include "rapt/linear.hpp"
#include "rapt/multi_head_attention.hpp"
#include "rapt/paged.hpp"
#include "rapt/ragged.hpp"

#include <algorithm>
#include <cstdint>
#include <utility>

namespace guard {
namespace {

using rapt::TensorView;

/// Seeded values in [-1, 1).
std::vector<float> drawn(std::int64_t count, std::uint64_t seed) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
  for (float& value : values) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    value = static_cast<float>(state >> 40) * 0x1p-23f - 1.0f;
  }
  return values;
}

/// Inputs rotate through this many bytes of K and V, or of weights, so that no cache holds them.
constexpr std::int64_t kColdBytes = std::int64_t{192} << 20;

std::int64_t copies_of(std::int64_t floats, bool cold) {
  return cold ? kColdBytes / (floats * 4) + 1 : 1;
}

struct Sizes {
  std::int64_t batch = 1, heads = 8, kv_heads = 8, q_len = 1, kv_len = 1, head_dim = 64;
  bool cold = false;

  std::int64_t q_size() const { return batch * heads * q_len * head_dim; }
  std::int64_t k_size() const { return batch * kv_heads * kv_len * head_dim; }
};

/// Q, K and V; enough copies of K and V to exceed the caches.
class Inputs : public Work {
 public:
  explicit Inputs(const Sizes& s)
      : s_(s),
        copies_(copies_of(2 * s.k_size(), s.cold)),
        q_(drawn(s.q_size(), 1)),
        k_(drawn(s.k_size() * copies_, 2)),
        v_(drawn(s.k_size() * copies_, 3)),
        out_(q_.size()) {}
  std::span<const float> output() const override { return out_; }

 protected:
  const float* next(const std::vector<float>& of) const { return of.data() + copy_ * s_.k_size(); }
  void next_copy() { copy_ = (copy_ + 1) % copies_; }

  Sizes s_;
  std::int64_t copies_, copy_ = 0;
  std::vector<float> q_, k_, v_, out_;
};

enum class Layout { heads_first, tokens_first };

/// [batch, heads, tokens, dim]; or that view of memory [batch, tokens, heads, dim].
template <class T>
TensorView<T, 4> view_of(T* data, std::int64_t batch, std::int64_t heads, std::int64_t tokens,
                         std::int64_t dim, Layout layout) {
  if (layout == Layout::heads_first) return {data, {batch, heads, tokens, dim}};
  return TensorView<T, 4>(data, {batch, tokens, heads, dim}).swapped(1, 2);
}

class Dense : public Inputs {
 public:
  Dense(const Sizes& s, const rapt::AttentionOptions& options, Layout layout)
      : Inputs(s), options_(options), layout_(layout) {}
  void call() override {
    const TensorView<const float, 4> k =
        view_of(next(k_), s_.batch, s_.kv_heads, s_.kv_len, s_.head_dim, layout_);
    const TensorView<const float, 4> v =
        view_of(next(v_), s_.batch, s_.kv_heads, s_.kv_len, s_.head_dim, layout_);
    rapt::attention(
        view_of(std::as_const(q_).data(), s_.batch, s_.heads, s_.q_len, s_.head_dim, layout_), k, v,
        view_of(out_.data(), s_.batch, s_.heads, s_.q_len, s_.head_dim, layout_), options_);
    next_copy();
  }

 protected:
  rapt::AttentionOptions options_;

 private:
  Layout layout_;
};

/// A mask over `heads` and `queries`, or 1, of `s`; keeps(batch, head, query, key) what it shows.
template <class Keeps>
class Masked : public Dense {
 public:
  Masked(const Sizes& s, std::int64_t heads, std::int64_t queries, Keeps keeps)
      : Dense(s, {}, Layout::heads_first),
        shape_{s.batch, heads, queries, s.kv_len},
        mask_(new bool[static_cast<std::size_t>(s.batch * heads * queries * s.kv_len)]) {
    for (std::int64_t i = 0; i < s.batch * heads * queries * s.kv_len; ++i) {
      const std::int64_t row = i / s.kv_len;
      mask_[static_cast<std::size_t>(i)] =
          keeps(row / queries / heads, row / queries % heads, row % queries, i % s.kv_len);
    }
    options_.bool_mask.values = {mask_.get(), shape_};
  }

 private:
  TensorView<const bool, 4>::Index shape_;
  std::unique_ptr<bool[]> mask_;
};

/// One query per sequence, keys and values in a KvCache.
class Cached : public Inputs {
 public:
  explicit Cached(const Sizes& s) : Inputs(s) {
    for (std::int64_t c = 0; c < copies_; ++c, next_copy()) {
      caches_.emplace_back(rapt::KvCacheConfig{.kv_heads = s.kv_heads, .head_dim = s.head_dim});
      for (std::int64_t b = 0; b < s.batch; ++b) fill(caches_.back(), b);
    }
    for (std::int64_t b = 0; b <= s.batch; ++b) rows_.push_back(b);
    k_ = v_ = {};
  }
  void call() override {
    const std::int64_t rows = s_.batch;
    rapt::attention(TensorView<const float, 3>(q_.data(), {rows, s_.heads, s_.head_dim}),
                    caches_[static_cast<std::size_t>(copy_)], {sequences_, rows_},
                    {out_.data(), {rows, s_.heads, s_.head_dim}});
    next_copy();
  }

 private:
  void fill(rapt::KvCache& cache, std::int64_t b) {
    const std::int64_t sequence = cache.add(), at = b * s_.kv_heads * s_.kv_len * s_.head_dim;
    const TensorView<const float, 3> k(next(k_) + at, {s_.kv_len, s_.kv_heads, s_.head_dim});
    const TensorView<const float, 3> v(next(v_) + at, {s_.kv_len, s_.kv_heads, s_.head_dim});
    try {
      cache.append(sequence, k, v);
    } catch (const rapt::Error&) {  // in commits whose caches took heads before tokens
      cache.append(sequence, k.swapped(0, 1), v.swapped(0, 1));
    }
    if (caches_.size() == 1) sequences_.push_back(sequence);
  }

  std::vector<rapt::KvCache> caches_;
  std::vector<std::int64_t> sequences_, rows_;
};

/// One query per sequence, keys and values in the caller's own pages of 32 tokens.
class OwnPages : public Inputs {
 public:
  explicit OwnPages(const Sizes& s)
      : Inputs(s), lens_(static_cast<std::size_t>(s.batch), s.kv_len) {
    // An odd step visits every page once, and adjacent pages of a sequence are not adjacent in
    // memory.
    const std::int64_t pages = s.batch * s.kv_len / kPage, step = 7919;
    for (std::int64_t i = 0; i < pages; ++i) table_.push_back(i * step % pages);
    for (std::int64_t b = 0; b <= s.batch; ++b) rows_.push_back(b);
  }
  void call() override {
    const std::int64_t pages = std::ssize(table_);
    const TensorView<const float, 4>::Index shape{pages, kPage, s_.kv_heads, s_.head_dim};
    rapt::attention(
        TensorView<const float, 3>(q_.data(), {s_.batch, s_.heads, s_.head_dim}),
        {.k = {next(k_), shape},
         .v = {next(v_), shape},
         .table = TensorView<const std::int64_t, 2>(table_.data(), {s_.batch, pages / s_.batch}),
         .kv_lens = lens_},
        rows_, {out_.data(), {s_.batch, s_.heads, s_.head_dim}});
    next_copy();
  }

 private:
  static constexpr std::int64_t kPage = 32;
  std::vector<std::int64_t> lens_, table_, rows_;
};

/// Row offsets of documents of 2048 tokens in all.
const std::vector<std::int64_t> kDocuments{0, 100, 420, 600, 937, 1237, 1300, 1750, 2048};

std::int64_t document_of(std::int64_t token) {
  return std::upper_bound(kDocuments.begin(), kDocuments.end(), token) - kDocuments.begin();
}

/// Sequences of different lengths, packed without padding.
class Ragged : public Inputs {
 public:
  explicit Ragged(const Sizes& s) : Inputs(s) {
    for (std::int64_t row = 0, step = 1; row < s.q_len; row += 37 * step++) offsets_.push_back(row);
    offsets_.push_back(s.q_len);
  }
  Ragged(const Sizes& s, const std::vector<std::int64_t>& offsets) : Inputs(s), offsets_(offsets) {}
  void call() override {
    const TensorView<const float, 3>::Index shape{s_.q_len, s_.heads, s_.head_dim};
    rapt::attention({q_.data(), shape}, {k_.data(), shape}, {v_.data(), shape},
                    {out_.data(), shape}, rapt::RaggedRows{offsets_, offsets_});
  }

 private:
  std::vector<std::int64_t> offsets_;
};

class Product : public Work {
 public:
  Product(std::int64_t rows, std::int64_t in, std::int64_t out, bool cold)
      : x_(drawn(rows * in, 4)), y_(static_cast<std::size_t>(rows * out)), rows_(rows) {
    const std::vector<float> weight = drawn(in * out, 5);
    for (std::int64_t c = copies_of(in * out, cold); c > 0; --c) {
      layers_.emplace_back(TensorView<const float, 2>(weight.data(), {out, in}));
    }
  }
  void call() override {
    const rapt::Linear& layer = layers_[copy_++ % layers_.size()];
    layer.forward({x_.data(), {rows_, layer.in_features()}},
                  {y_.data(), {rows_, layer.out_features()}});
  }
  std::span<const float> output() const override { return y_; }

 private:
  std::vector<rapt::Linear> layers_;
  std::vector<float> x_, y_;
  std::int64_t rows_;
  std::size_t copy_ = 0;
};

class Layer : public Work {
 public:
  Layer(std::int64_t batch, std::int64_t tokens, std::int64_t dim, std::int64_t heads)
      : x_(drawn(batch * tokens * dim, 6)), y_(x_.size()), shape_{batch, tokens, dim} {
    const std::vector<float> weight = drawn(dim * dim, 7);
    const rapt::Linear square(TensorView<const float, 2>(weight.data(), {dim, dim}));
    layer_ = std::make_unique<rapt::MultiHeadAttention>(
        rapt::MultiHeadAttentionConfig{.model_dim = dim, .num_heads = heads},
        rapt::MultiHeadAttentionWeights{square, square, square, square});
  }
  void call() override { layer_->forward({x_.data(), shape_}, {y_.data(), shape_}); }
  std::span<const float> output() const override { return y_; }

 private:
  std::vector<float> x_, y_;
  TensorView<float, 3>::Index shape_;
  std::unique_ptr<rapt::MultiHeadAttention> layer_;
};

template <class W, class... Arguments>
std::function<std::unique_ptr<Work>()> make(Arguments... arguments) {
  return [=] { return std::make_unique<W>(arguments...); };
}

std::function<std::unique_ptr<Work>()> dense(const Sizes& s,
                                             const rapt::AttentionOptions& options = {},
                                             Layout layout = Layout::heads_first) {
  return make<Dense>(s, options, layout);
}

/// A bias for every head.
class Biased : public Dense {
 public:
  explicit Biased(const Sizes& s)
      : Dense(s, {}, Layout::heads_first), bias_(drawn(s.heads * s.q_len * s.kv_len, 8)) {
    options_.bias = {bias_.data(), {1, s.heads, s.q_len, s.kv_len}};
  }

 private:
  std::vector<float> bias_;
};

template <class Keeps>
std::function<std::unique_ptr<Work>()> masked(const Sizes& s, std::int64_t heads,
                                              std::int64_t queries, Keeps keeps) {
  return make<Masked<Keeps>>(s, heads, queries, keeps);
}

/// `cells`, then those of masks, each after what it should cost.
std::vector<Cell> with_masks(std::vector<Cell> cells) {
  static const std::vector<std::int64_t> lens{512, 400, 300, 256, 200, 450, 77, 130};
  const Sizes padded{8, 12, 12, 512, 512, 64}, long_one{1, 8, 8, 2048, 2048, 64};
  using At = std::int64_t;
  const auto padding = [](At b, At, At, At j) { return j < lens[static_cast<std::size_t>(b)]; };
  const auto random = [](At, At h, At i, At j) {
    return (static_cast<std::uint64_t>((h * 2048 + i) * 2048 + j) * 0x9e3779b97f4a7c15u >> 62) != 0;
  };
  const auto documents = [](At, At, At i, At j) { return document_of(i) == document_of(j); };
  const auto everything = [](At, At, At, At) { return true; };
  const std::vector<Cell> masks = {
      {"lengths, batch 8, 12 heads of 64, 512 x 512", false, false,
       dense(padded, {.kv_lens = lens})},
      {"padding mask, batch 8, 12 heads of 64, 512 x 512", false, false,
       masked(padded, 1, 1, padding)},
      {"ragged, 8 documents, 8 heads of 64, 2048 rows", false, false,
       make<Ragged>(long_one, kDocuments)},
      {"mask of 8 documents, 8 heads of 64, 2048 x 2048", false, false,
       masked(long_one, 1, 2048, documents)},
      {"mask of documents per head, 8 heads of 64, 2048 x 2048", false, false,
       masked(long_one, 8, 2048, documents)},
      {"random mask, 8 heads of 64, 2048 x 2048", false, false, masked(long_one, 1, 2048, random)},
      {"random mask per head, 8 heads of 64, 2048 x 2048", false, false,
       masked(long_one, 8, 2048, random)},
      {"mask of nothing, 8 heads of 64, 2048 x 2048", false, false,
       masked(long_one, 1, 2048, everything)},
      {"bias, 8 heads of 64, 1024 x 1024", false, false,
       make<Biased>(Sizes{1, 8, 8, 1024, 1024, 64})},
      {"no mask, 8 heads of 64, 2048 x 2048", false, false, dense(long_one)},
      {"1 query, padding mask, 8 / 1 heads of 64, 2048 keys", false, false,
       masked({8, 8, 1, 1, 2048, 64}, 1, 1, [](At b, At, At, At j) { return j < 2048 - 200 * b; })},
  };
  cells.insert(cells.end(), masks.begin(), masks.end());
  return cells;
}

}  // namespace

const std::vector<Cell>& cells() {
  using rapt::causal_bottom_right;
  const Sizes d1{1, 32, 8, 1, 8192, 128, true}, d2{16, 32, 8, 1, 2048, 128, true};
  static const std::vector<float> slopes(8, 0.25f);
  static const std::vector<Cell> all = with_masks({
      {"T1: 5 tokens, 4 heads of 4", false, true, dense({1, 4, 4, 5, 5, 4})},
      {"1 x 64, 8 heads of 32", false, true, dense({1, 8, 8, 1, 64, 32})},
      {"16 x 200, 8 heads of 64", false, true, dense({1, 8, 8, 16, 200, 64})},
      {"64 x 77, 8 heads of 40", false, true, dense({1, 8, 8, 64, 77, 40})},
      {"batch 8 of 16 x 16, 12 heads of 64", false, true, dense({8, 12, 12, 16, 16, 64})},
      {"P1: batch 8, 12 heads of 64, 512 x 512", true, false, dense({8, 12, 12, 512, 512, 64})},
      {"P2: causal, 32 heads of 128, 2048 x 2048", false, false,
       dense({1, 32, 32, 2048, 2048, 128}, {.mask = causal_bottom_right()})},
      {"causal, 8 / 2 heads of 128, 2048 x 2048", false, false,
       dense({1, 8, 2, 2048, 2048, 128}, {.mask = causal_bottom_right()})},
      {"P4: batch 32, 12 heads of 32, 128 x 128", false, false, dense({32, 12, 12, 128, 128, 32})},
      {"P4 of [batch, tokens, heads, dim]", false, false,
       dense({32, 12, 12, 128, 128, 32}, {}, Layout::tokens_first)},
      {"causal, window 256, 8 heads of 64, 2048 x 2048", false, false,
       dense({1, 8, 8, 2048, 2048, 64}, {.mask = causal_bottom_right().windowed(256, 0)})},
      {"causal, soft cap, ALiBi, 8 heads of 64, 1024 x 1024", false, false,
       dense({1, 8, 8, 1024, 1024, 64},
             {.mask = causal_bottom_right(), .soft_cap = 30.0f, .alibi_slopes = slopes})},
      {"ragged, 12 heads of 64, 2048 rows", false, false,
       make<Ragged>(Sizes{1, 12, 12, 2048, 2048})},
      {"D1: 1 query, 32 / 8 heads of 128, 8192 keys", true, false, dense(d1)},
      {"D2: 16 sequences of 2048 keys", false, false, dense(d2)},
      {"D1 from a KvCache", true, true, make<Cached>(d1)},
      {"D2 from a KvCache", false, false, make<Cached>(d2)},
      {"1 query, 32 / 32 heads of 128, 2048 keys, KvCache", false, false,
       make<Cached>(Sizes{1, 32, 32, 1, 2048, 128, true})},
      {"1 query, 32 / 8 heads of 128, 512 keys, KvCache, in cache", false, true,
       make<Cached>(Sizes{1, 32, 8, 1, 512, 128})},
      {"1 query, 32 / 8 heads of 128, 8192 keys of [tokens, heads, dim]", false, false,
       dense(d1, {}, Layout::tokens_first)},
      {"1 query, 8 / 1 heads of 64, 2048 keys", false, false, dense({1, 8, 1, 1, 2048, 64})},
      {"4 sequences of 2048 keys, own pages of 32", false, false,
       make<OwnPages>(Sizes{4, 32, 8, 1, 2048, 128, true})},
      {"G1: linear 512 x 768 x 768", true, false,
       make<Product>(std::int64_t{512}, std::int64_t{768}, std::int64_t{768}, false)},
      {"G2: linear 1 x 4096 x 4096, cold", true, false,
       make<Product>(std::int64_t{1}, std::int64_t{4096}, std::int64_t{4096}, true)},
      {"linear 8 x 4096 x 4096, cold", false, false,
       make<Product>(std::int64_t{8}, std::int64_t{4096}, std::int64_t{4096}, true)},
      {"M1 of batch 2: layer of 768, 512 tokens, 12 heads", true, false,
       make<Layer>(std::int64_t{2}, std::int64_t{512}, std::int64_t{768}, std::int64_t{12})},
  });
  return all;
}

}  // namespace guard
