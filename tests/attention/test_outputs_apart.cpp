// In every overload an output that overlaps an input of the call is an error that names both, and
// nothing is written.
#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "rapt/attention.hpp"
#include "rapt/kv_cache.hpp"
#include "rapt/paged.hpp"
#include "rapt/ragged.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kHeads = 2, kDim = 4, kKeys = 5;

/// One query over five keys through every entry point; the test chooses `out`.
struct Call {
  std::vector<float> q = normal_floats(kHeads * kDim, 1);
  std::vector<float> k = normal_floats(kHeads * kKeys * kDim, 2);
  std::vector<float> v = normal_floats(kHeads * kKeys * kDim, 3);
  std::vector<float> result = std::vector<float>(kHeads * kDim, -1.0f);
  std::vector<std::int64_t> table{0}, lens{kKeys}, rows{0, 1}, key_rows{0, kKeys};
  std::vector<std::int64_t> sequences;
  std::vector<float> sinks{0.5f, 0.25f};
  KvCache cache{{.kv_heads = kHeads, .head_dim = kDim, .page_tokens = 32}};
  AttentionOptions options{.sinks = sinks};
  TensorView<float, 3> out{result.data(), {1, kHeads, kDim}};

  Call() {
    sequences.push_back(cache.add());
    cache.append(sequences[0], tokens(k), tokens(v));
  }

  static TensorView<const float, 3> tokens(const std::vector<float>& floats) {
    return {floats.data(), {kKeys, kHeads, kDim}};
  }
  TensorView<const float, 3> queries() const { return {q.data(), {1, kHeads, kDim}}; }

  void over_pages() const {
    const PagedKeyValues pages{.k = {k.data(), {1, kKeys, kHeads, kDim}},
                               .v = {v.data(), {1, kKeys, kHeads, kDim}},
                               .table = TensorView<const std::int64_t, 2>(table.data(), {1, 1}),
                               .kv_lens = lens};
    attention(queries(), pages, rows, out, options);
  }
  void over_cache() const { attention(queries(), cache, {sequences, rows}, out, options); }
  void across_cache() const { cross_attention(queries(), cache, {sequences, rows}, out, options); }
  void over_rows() const {
    attention(queries(), {k.data(), {kKeys, kHeads, kDim}}, {v.data(), {kKeys, kHeads, kDim}}, out,
              {.q = rows, .kv = key_rows}, options);
  }
};

template <class T>
float* floats_of(std::vector<T>& values) {
  return reinterpret_cast<float*>(values.data());
}

/// The sentence of a call whose out is at place(call); its inputs are unchanged.
template <class Place>
std::string sentence_over(void (Call::*entry_point)() const, const Place& place) {
  Call call;
  const Call before;
  call.out.data = place(call);
  const std::string sentence = sentence_of([&] { (call.*entry_point)(); });
  CHECK(same_bits(call.q, before.q));
  CHECK(same_bits(call.k, before.k));
  CHECK(same_bits(call.v, before.v));
  CHECK(same_bits(call.sinks, before.sinks));
  CHECK(call.rows == before.rows);
  CHECK(call.lens == before.lens);
  CHECK(call.table == before.table);
  CHECK(call.key_rows == before.key_rows);
  CHECK(call.sequences == before.sequences);
  return sentence;
}

}  // namespace

TEST_CASE("an output that overlaps an input of a call over pages is an error") {
  const auto over = [](const auto& place) { return sentence_over(&Call::over_pages, place); };
  CHECK(over([](Call& c) { return c.result.data(); }) == "");
  CHECK(over([](Call& c) { return c.q.data(); }) == "out: overlaps q");
  CHECK(over([](Call& c) { return c.k.data() + 8; }) == "out: overlaps pages.k");
  CHECK(over([](Call& c) { return c.v.data() + 8; }) == "out: overlaps pages.v");
  CHECK(over([](Call& c) { return floats_of(c.table); }) == "out: overlaps pages.table");
  CHECK(over([](Call& c) { return floats_of(c.lens); }) == "out: overlaps pages.kv_lens");
  CHECK(over([](Call& c) { return floats_of(c.rows); }) == "out: overlaps rows");
  CHECK(over([](Call& c) { return c.sinks.data(); }) == "out: overlaps sinks");
}

TEST_CASE("an output that overlaps an input of a call over a cache is an error") {
  for (const auto entry_point : {&Call::over_cache, &Call::across_cache}) {
    const auto over = [entry_point](const auto& place) {
      return sentence_over(entry_point, place);
    };
    CHECK(over([](Call& c) { return c.result.data(); }) == "");
    CHECK(over([](Call& c) { return c.q.data(); }) == "out: overlaps q");
    CHECK(over([](Call& c) { return floats_of(c.sequences); }) ==
          "out: overlaps queries.sequences");
    CHECK(over([](Call& c) { return floats_of(c.rows); }) == "out: overlaps queries.rows");
    CHECK(over([](Call& c) { return c.sinks.data(); }) == "out: overlaps sinks");
  }
}

TEST_CASE("an output that overlaps an input of a call over packed rows is an error") {
  const auto over = [](const auto& place) { return sentence_over(&Call::over_rows, place); };
  CHECK(over([](Call& c) { return c.result.data(); }) == "");
  CHECK(over([](Call& c) { return c.q.data(); }) == "out: overlaps q");
  CHECK(over([](Call& c) { return c.k.data() + 8; }) == "out: overlaps k");
  CHECK(over([](Call& c) { return c.v.data() + 8; }) == "out: overlaps v");
  CHECK(over([](Call& c) { return floats_of(c.rows); }) == "out: overlaps rows.q");
  CHECK(over([](Call& c) { return floats_of(c.key_rows); }) == "out: overlaps rows.kv");
  CHECK(over([](Call& c) { return c.sinks.data(); }) == "out: overlaps sinks");
}

TEST_CASE("an output may be adjacent to an input on either side") {
  constexpr std::int64_t kQ = kHeads * kDim, kK = kHeads * kKeys * kDim;
  std::vector<float> memory = normal_floats(2 * kQ + 2 * kK, 4);
  float* const q = memory.data();
  float* const out = q + kQ;  // between q and k
  CHECK(sentence_of([&] {
          attention(TensorView<const float, 4>(q, {1, kHeads, 1, kDim}),
                    TensorView<const float, 4>(out + kQ, {1, kHeads, kKeys, kDim}),
                    TensorView<const float, 4>(out + kQ + kK, {1, kHeads, kKeys, kDim}),
                    TensorView<float, 4>(out, {1, kHeads, 1, kDim}));
        }) == "");
}

}  // namespace rapt::test
