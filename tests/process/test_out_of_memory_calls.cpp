// Every public function, with each of its allocations failing in turn, alone or with all later
// ones: it succeeds, or its Error is out_of_memory or the one that it gives with memory too.
#include "dispatch/machine_id.hpp"
#include "dispatch/tuning.hpp"
#include "process/allocation_hooks.hpp"
#include "process/failing_allocations.hpp"
#include "rapt/rapt.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

/// Tensors of one size for everything: 4 tokens, 2 heads of 8.
struct Floats {
  std::vector<float> in = std::vector<float>(64 * 64, 0.25f), out = std::vector<float>(64 * 64);

  TensorView<const float, 2> x2(std::int64_t a, std::int64_t b) const {
    return {in.data(), {a, b}};
  }
  TensorView<const float, 3> x3() const { return {in.data(), {4, 2, 8}}; }
  TensorView<const float, 4> x4() const { return {in.data(), {1, 2, 4, 8}}; }
  TensorView<float, 2> y2(std::int64_t a, std::int64_t b) { return {out.data(), {a, b}}; }
  TensorView<float, 3> y3() { return {out.data(), {4, 2, 8}}; }
  TensorView<float, 4> y4() { return {out.data(), {1, 2, 4, 8}}; }
  /// [tokens, kv_heads, head_dim]
  TensorView<const float, 3> tokens() const { return {in.data(), {4, 2, 8}}; }
};

Floats& floats() {
  static Floats all;
  return all;
}

constexpr std::array<std::int64_t, 2> kRows{0, 4};
constexpr std::array<std::int64_t, 1> kSequences{0}, kUnknown{7};
constexpr CacheQueries kQueries{.sequences = kSequences, .rows = kRows};

std::shared_ptr<KvCache> small_cache(std::int64_t max_pages = 0) {
  auto cache = std::make_shared<KvCache>(
      KvCacheConfig{.kv_heads = 2, .head_dim = 8, .page_tokens = 32, .max_pages = max_pages});
  cache->append(cache->add(), floats().tokens(), floats().tokens());
  return cache;
}

/// A case that changes its own cache.
std::function<Call()> on_cache(const std::function<void(KvCache&)>& call,
                               std::int64_t max_pages = 0) {
  return [call, max_pages]() -> Call {
    return [call, cache = small_cache(max_pages)] { call(*cache); };
  };
}

Linear projection() { return Linear(floats().x2(16, 16)); }

MultiHeadAttention small_layer() {
  return MultiHeadAttention({.model_dim = 16, .num_heads = 2, .qk_norm_epsilon = 1e-6f},
                            {projection(), projection(), projection(), projection()});
}

}  // namespace

TEST_CASE("each failed allocation in attention is an Error, even while building its sentence") {
  Floats& f = floats();
  AttentionOptions options{.mask = causal()}, wrong{.soft_cap = -1.0f};
  const std::vector<float> slopes(2, 0.5f);
  options.alibi_slopes = slopes;
  fail_every_allocation("attention",
                        plain([&] { attention(f.x4(), f.x4(), f.x4(), f.y4(), options); }));
  fail_every_allocation("attention, wrong",
                        plain([&] { attention(f.x4(), f.x4(), f.x4(), f.y4(), wrong); }));
  const RaggedRows ragged{.q = kRows, .kv = kRows}, bad_ragged{.q = kRows, .kv = kSequences};
  fail_every_allocation("ragged",
                        plain([&] { attention(f.x3(), f.x3(), f.x3(), f.y3(), ragged, options); }));
  fail_every_allocation("ragged, wrong",
                        plain([&] { attention(f.x3(), f.x3(), f.x3(), f.y3(), bad_ragged); }));
  const std::array<std::int64_t, 2> table{0, 1}, lens{4, 4}, far{9, 9}, rows{0, 2};
  const auto paged = [&](const std::int64_t* pages) {
    const PagedKeyValues all{.k = {f.in.data(), {2, 4, 2, 8}},
                             .v = {f.in.data(), {2, 4, 2, 8}},
                             .table = TensorView<const std::int64_t, 2>(pages, {1, 1}),
                             .kv_lens = std::span(lens).first(1)};
    attention(f.x3(), all, rows, f.y3());
  };
  fail_every_allocation("paged", plain([&] { paged(table.data()); }));
  fail_every_allocation("paged, wrong", plain([&] { paged(far.data()); }));
  fail_every_allocation(
      "cached", on_cache([&](KvCache& cache) { attention(f.x3(), cache, kQueries, f.y3()); }));
  fail_every_allocation("cached, forks", on_cache([&](KvCache& cache) {
                          const std::array<std::int64_t, 2> both{0, cache.fork(0)};
                          const std::array<std::int64_t, 3> decode{0, 1, 2};
                          attention(f.x3(), cache, {.sequences = both, .rows = decode}, f.y3());
                        }));
  fail_every_allocation("cached, wrong", on_cache([&](KvCache& cache) {
                          attention(f.x3(), cache, {.sequences = kUnknown, .rows = kRows}, f.y3());
                        }));
  fail_every_allocation("cached, one sequence",
                        on_cache([&](KvCache& cache) { attention(f.x3(), cache, 0, f.y3()); }));
  fail_every_allocation(
      "cross", on_cache([&](KvCache& cache) { cross_attention(f.x3(), cache, kQueries, f.y3()); }));
  const AttentionState<const float> x({f.in.data(), {1, 2, 4}}, {f.in.data(), {1, 2, 4}}, f.x4());
  const AttentionState<float> y({f.out.data(), {1, 2, 4}}, {f.out.data() + 8, {1, 2, 4}},
                                {f.out.data() + 16, {1, 2, 4, 8}});
  fail_every_allocation("merge", plain([&] { merge(x, x, y); }));
  fail_every_allocation("merge, wrong", plain([&] { merge(x, {}, y); }));
  fail_every_allocation("merge of results, wrong", plain([&] {
                          merge({f.x4(), x.m}, {f.x4(), {}}, {f.y4(), y.m});
                        }));
}

TEST_CASE("each failed allocation in a row function is an Error") {
  Floats& f = floats();
  const RopeTable table(Rope::half, {.rotary_dims = 8, .positions = 4});
  const std::array<std::int64_t, 4> positions{0, 1, 2, 9};
  fail_every_allocation("rms_norm", plain([&] { rms_norm(f.x4(), f.y4()); }));
  fail_every_allocation("rms_norm, wrong",
                        plain([&] { rms_norm(f.x2(4, 8), f.y2(4, 8), {}, -1.0f); }));
  fail_every_allocation("layer_norm", plain([&] { layer_norm(f.x4(), f.y4()); }));
  fail_every_allocation("layer_norm, wrong",
                        plain([&] { layer_norm(f.x2(4, 8), f.y2(4, 8), {.epsilon = -1.0f}); }));
  fail_every_allocation("softmax", plain([&] { softmax(f.x4(), f.y4()); }));
  fail_every_allocation("softmax to bf16", plain([&] {
                          softmax(f.x4(), {f.out.data(), DType::bf16, f.y4().shape});
                        }));
  fail_every_allocation("softmax, wrong", plain([&] { softmax(f.x2(4, 8), f.y2(4, 7)); }));
  fail_every_allocation("apply_rope", plain([&] { apply_rope(f.x4(), f.y4(), table); }));
  fail_every_allocation("apply_rope, wrong", plain([&] { apply_rope(f.x4(), f.y4(), table, 1); }));
  fail_every_allocation("apply_rope at, wrong", plain([&] {
                          apply_rope(f.x4(), f.y4(), table,
                                     TensorView<const std::int64_t, 2>(positions.data(), {1, 4}));
                        }));
  fail_every_allocation("RopeTable",
                        plain([] { RopeTable(Rope::half, {.rotary_dims = 8, .positions = 4}); }));
  fail_every_allocation("RopeTable, wrong",
                        plain([] { RopeTable(Rope::half, {.rotary_dims = 7, .positions = 4}); }));
  fail_every_allocation("t5_bucket, wrong", plain([] { (void)t5_bucket(1, {.buckets = 1}); }));
  fail_every_allocation("t5_bias", plain([&] { t5_bias(f.x2(32, 2), {}, 4, f.y2(2, 7)); }));
  fail_every_allocation("t5_bias, wrong", plain([&] { t5_bias(f.x2(32, 2), {}, 9, f.y2(2, 7)); }));
  fail_every_allocation("embedding_lookup",
                        plain([&] { embedding_lookup(f.x2(9, 8), kRows, f.y2(2, 8)); }));
  fail_every_allocation("embedding_lookup, wrong",
                        plain([&] { embedding_lookup(f.x2(2, 8), kRows, f.y2(2, 8)); }));
}

TEST_CASE("each failed allocation in a layer is an Error") {
  Floats& f = floats();
  const std::vector<float> bias(16, 1.0f);
  fail_every_allocation("Linear", plain([&] { Linear(f.x2(16, 16), bias); }));
  fail_every_allocation("Linear, wrong", plain([&] { Linear(f.x2(8, 16), bias); }));
  fail_every_allocation("from_heads", plain([&] { (void)Linear::from_heads(f.x3()); }));
  fail_every_allocation("from_heads, wrong",
                        plain([&] { (void)Linear::from_heads(f.x3(), bias); }));
  const Linear linear = projection();
  fail_every_allocation("Linear::forward",
                        plain([&] { linear.forward(f.x2(4, 16), f.y2(4, 16)); }));
  fail_every_allocation("Linear::forward, wrong",
                        plain([&] { linear.forward(f.x2(4, 8), f.y2(4, 16)); }));
  fail_every_allocation("MultiHeadAttention", plain([] { (void)small_layer(); }));
  fail_every_allocation("MultiHeadAttention, wrong",
                        plain([] { MultiHeadAttention({.model_dim = 16, .num_heads = 3}, {}); }));
  const MultiHeadAttentionConfig config{.model_dim = 16, .num_heads = 2};
  const std::vector<float> all_bias(48, 1.0f);
  fail_every_allocation("from_fused", plain([&] {
                          (void)MultiHeadAttentionWeights::from_fused(config, FusedRows::by_kv_head,
                                                                      f.x2(48, 16), all_bias);
                        }));
  fail_every_allocation("from_fused, wrong", plain([&] {
                          (void)MultiHeadAttentionWeights::from_fused(config, FusedRows::q_k_v,
                                                                      f.x2(40, 16));
                        }));
  const MultiHeadAttention layer = small_layer();
  const TensorView<const float, 3> x(f.in.data(), {1, 4, 16});
  const TensorView<float, 3> y(f.out.data(), {1, 4, 16}), long_y(f.out.data(), {1, 5, 16});
  fail_every_allocation("forward", plain([&] { layer.forward(x, y); }));
  fail_every_allocation("forward, wrong", plain([&] { layer.forward(x, x, long_y); }));
  fail_every_allocation("a copy of a layer", plain([&] { (void)MultiHeadAttention(layer); }));
  fail_every_allocation("forward over a cache", on_cache([&](KvCache& cache) {
                          layer.forward(f.x2(4, 16), cache, kQueries, f.y2(4, 16));
                        }));
  fail_every_allocation("forward over a full cache",
                        on_cache(
                            [&](KvCache& cache) {
                              const std::array<std::int64_t, 2> many{0, 40};
                              layer.forward(f.x2(40, 16), cache,
                                            {.sequences = kSequences, .rows = many}, f.y2(40, 16));
                            },
                            1));
  fail_every_allocation("append_context", on_cache([&](KvCache& cache) {
                          layer.append_context(f.x2(4, 16), cache, kSequences, kRows);
                        }));
  fail_every_allocation("cross_forward", on_cache([&](KvCache& cache) {
                          layer.cross_forward(f.x2(4, 16), cache, kQueries, f.y2(4, 16));
                        }));
  fail_every_allocation("cross_forward, wrong", on_cache([&](KvCache& cache) {
                          layer.cross_forward(f.x2(4, 8), cache, kQueries, f.y2(4, 16));
                        }));
}

TEST_CASE("each failed allocation in a cache is an Error") {
  const Floats& f = floats();
  fail_every_allocation("KvCache", plain([] { KvCache({.kv_heads = 2, .head_dim = 8}); }));
  fail_every_allocation("KvCache, wrong",
                        plain([] { KvCache({.kv_heads = 2, .head_dim = 8, .page_tokens = 33}); }));
  fail_every_allocation("add", on_cache([](KvCache& cache) { cache.add(); }));
  fail_every_allocation("fork", on_cache([](KvCache& cache) { cache.fork(0); }));
  fail_every_allocation("fork, wrong", on_cache([](KvCache& cache) { cache.fork(7); }));
  fail_every_allocation("append",
                        on_cache([&](KvCache& cache) { cache.append(0, f.tokens(), f.tokens()); }));
  fail_every_allocation("append, full",
                        on_cache(
                            [&](KvCache& cache) {
                              const TensorView<const float, 3> many(f.in.data(), {40, 2, 8});
                              cache.append(0, many, many);
                            },
                            1));
  fail_every_allocation("truncate", on_cache([](KvCache& cache) { cache.truncate(0, 1); }));
  fail_every_allocation("truncate, wrong", on_cache([](KvCache& cache) { cache.truncate(0, 9); }));
  fail_every_allocation("remove, wrong", on_cache([](KvCache& cache) { cache.remove(7); }));
  fail_every_allocation("reserve", on_cache([](KvCache& cache) { cache.reserve(3); }));
  fail_every_allocation("reserve, full", on_cache([](KvCache& cache) { cache.reserve(3); }, 1));
  fail_every_allocation("length, wrong", on_cache([](KvCache& cache) { cache.length(7); }));
  fail_every_allocation("first_token, wrong",
                        on_cache([](KvCache& cache) { cache.first_token(7); }));
  fail_every_allocation("others", on_cache([](KvCache& cache) {
                          (void)cache.usage();
                          (void)cache.config();
                          (void)cache.length(0);
                          cache.clear();
                        }));
}

TEST_CASE("each failed allocation in a file's reader or writer is an Error") {
  const TemporaryDirectory folder;
  const std::string npy = folder.path("x.npy"), missing = folder.path("missing.npy");
  const std::vector<std::int64_t> shape{8, 8}, wrong_shape{8, -8};
  const float* const data = floats().in.data();
  fail_every_allocation("write_npy", plain([&] { write_npy(npy, data, shape); }));
  fail_every_allocation("write_npy, wrong", plain([&] { write_npy(npy, data, wrong_shape); }));
  write_npy(npy, data, shape);
  fail_every_allocation("NpyFile", plain([&] { NpyFile{npy}; }));
  fail_every_allocation("NpyFile, missing", plain([&] { NpyFile{missing}; }));
  const std::string cut_npy = folder.write("cut.npy", "\x93NUMPY");
  fail_every_allocation("NpyFile, cut", plain([&] { NpyFile{cut_npy}; }));
  const NpyFile file(npy);
  fail_every_allocation("copy_as_float", plain([&] { (void)file.tensor().copy_as_float(); }));
  fail_every_allocation("view", plain([&] { (void)file.tensor().view<2>(); }));
  fail_every_allocation("view, wrong", plain([&] { (void)file.tensor().view<3>(); }));
  std::string header = R"({"__metadata__":{"a key of some length":"a value of some length"},)"
                       R"("x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header = std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header;
  const std::string good = folder.write("good.safetensors", header + std::string(4, '\0'));
  const std::string cut = folder.write("cut.safetensors", header + std::string(3, '\0'));
  fail_every_allocation("SafetensorsFile", plain([&] { SafetensorsFile{good}; }));
  fail_every_allocation("SafetensorsFile, cut", plain([&] { SafetensorsFile{cut}; }));
  fail_every_allocation("SafetensorsFile, missing", plain([&] { SafetensorsFile{missing}; }));
  const SafetensorsFile tensors(good);
  fail_every_allocation("at", plain([&] { (void)tensors.at("x"); }));
  fail_every_allocation("at, wrong", plain([&] { (void)tensors.at("y"); }));
}

TEST_CASE("each failed allocation in the choice of an ISA is an Error") {
  fail_every_allocation("parse_isa", plain([] { (void)parse_isa("avx2"); }));
  fail_every_allocation("parse_isa, wrong", plain([] { (void)parse_isa("avx3"); }));
  fail_every_allocation("isas", plain([] {
                          (void)compiled_isas();
                          (void)available_isas();
                          (void)active_isa();
                        }));
  fail_every_allocation("force_isa, wrong", plain([] { force_isa(static_cast<Isa>(9)); }));
}

TEST_CASE("each failed allocation in the first use of a tuning file is an Error") {
  const TemporaryDirectory folder;
  const std::string right = folder.write(
      "right.json", R"({"rapt_tuning": 1, "machine": ")" + dispatch::machine_id() +
                        R"(", "call": {"inline_work": 1}, "scalar": {"query_rows": 2}})");
  const std::string wrong = folder.write("wrong.json", R"({"rapt_tuning": 1, "machine": "none"})");
  for (const std::string& path : {right, wrong, folder.path("a missing file")}) {
    setenv("RAPT_TUNING", path.c_str(), 1);
    const auto first_use = [&](const std::string& name, const Call& call) {
      fail_every_allocation(name + ", " + path, [&] {
        dispatch::reset_tuning();
        return call;
      });
    };
    first_use("rms_norm", [] { rms_norm({floats().x2(4, 8)}, {floats().y2(4, 8)}); });
    first_use("attention",
              [] { attention(floats().x4(), floats().x4(), floats().x4(), floats().y4()); });
  }
  setenv("RAPT_TUNING", "off", 1);
  dispatch::reset_tuning();
}

TEST_CASE("an Error with a literal sentence allocates nothing") {
  const std::int64_t before = allocations;
  const Error error(ErrorCode::out_of_memory, SentenceLiteral("workspace: there is none"));
  const Error copy = error;  // NOLINT(performance-unnecessary-copy-initialization): what is tested
  CHECK(allocations == before);
  CHECK(std::string(copy.what()) == "workspace: there is none");
}

}  // namespace rapt::test
