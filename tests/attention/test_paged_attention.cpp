// Attention over the caller's pages has the bits of the same keys in one tensor, for pages of any
// size in any order; only visible keys are read.
#include "cache/cache_problem.hpp"
#include "rapt/paged.hpp"
#include "reference/scalar.hpp"
#include "support/arena.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();
constexpr std::int64_t kPages = 700;

/// A stream's keys in pages of `page_size` tokens, in reverse order, with NaN elsewhere. A page has
/// the heads of a token side by side or, by_head, the tokens of one head after the other's.
struct Pages {
  Pages(const StreamTokens& tokens, std::int64_t page_size_, bool by_head = false)
      : page_size(page_size_) {
    const Stream& s = tokens.stream;
    k.assign(static_cast<std::size_t>(kPages * page_size * s.kv_heads * s.head_dim), kNaN);
    v.assign(static_cast<std::size_t>(kPages * page_size * s.kv_heads * s.value_dim), kNaN);
    const auto view_of = [&](std::vector<float>& memory, std::int64_t dim) {
      const TensorView<float, 4> heads(memory.data(), {kPages, s.kv_heads, page_size, dim});
      if (by_head) return heads.swapped(1, 2);
      return TensorView<float, 4>(memory.data(), {kPages, page_size, s.kv_heads, dim});
    };
    const TensorView<float, 4> to_k = view_of(k, s.head_dim), to_v = view_of(v, s.value_dim);
    view.k = to_k;
    view.v = to_v;
    for (std::int64_t t = 0; t < s.tokens; ++t) {
      if (t % page_size == 0)
        table.push_back(static_cast<std::int32_t>(kPages - 1 - 2 * t / page_size));
      for (std::int64_t h = 0; h < s.kv_heads; ++h) {
        const auto key = tokens.keys(t, 1), value = tokens.values_of(t, 1);
        const std::int64_t page = table.back(), at = t % page_size;
        std::copy(&key(0, h, 0), &key(0, h, 0) + s.head_dim, &to_k(page, at, h, 0));
        std::copy(&value(0, h, 0), &value(0, h, 0) + s.value_dim, &to_v(page, at, h, 0));
      }
    }
    table.push_back(-5);  // past the length: not read
    const auto columns = static_cast<std::int64_t>(table.size());
    wide.assign(table.begin(), table.end());
    view.table = TensorView<const std::int32_t, 2>(table.data(), {1, columns});
    lengths = {s.tokens};
    view.kv_lens = lengths;
  }

  std::int64_t page_size;
  std::vector<float> k, v;
  std::vector<std::int32_t> table;
  std::vector<std::int64_t> wide, lengths;
  PagedKeyValues view;
};

/// All tokens of the stream, in two chunks of queries.
StreamOutputs over_pages(const StreamTokens& tokens, const Pages& pages, AttentionOptions options) {
  StreamOutputs outputs(tokens.stream);
  const std::int64_t all = tokens.stream.tokens, half = all / 3;
  for (const auto& [first, count] :
       {std::pair{std::int64_t{0}, half}, {half, all - half - 3}, {all - 3, std::int64_t{3}}}) {
    const std::int64_t rows[] = {0, count};
    options.mask.query_offset = first;
    options.lse = outputs.sums(first, count);
    attention(tokens.queries(first, count), pages.view, rows, outputs.rows(first, count), options);
  }
  return outputs;
}

}  // namespace

TEST_CASE("the caller's pages of any size have the bits of one tensor") {
  for (const Stream& stream : {Stream{.tokens = 330, .seed = 21},
                               Stream{.tokens = 300, .head_dim = 32, .value_dim = 64, .seed = 22},
                               Stream{.heads = 2,
                               .kv_heads = 1,
                               .tokens = 310,
                               .head_dim = 32,
                               .value_dim = 96,
                               .seed = 24}}) {
    const StreamTokens tokens(stream);
    for (const AttentionOptions& options :
         {AttentionOptions{.mask = causal()}, AttentionOptions{.mask = causal().windowed(70, 0)},
          AttentionOptions{.mask = causal().with_prefix(200)},
          AttentionOptions{.mask = causal().windowed(90, kNoWindow).with_prefix(200)},
          AttentionOptions{.mask = causal().windowed(90, 20).with_prefix(200)}}) {
      const StreamOutputs want = in_one_tensor(reference::attention, tokens, options);
      for (const std::int64_t page_size : {1, 5, 16, 33, 48, 64, 272, 500}) {
        CAPTURE(page_size);
        Pages pages(tokens, page_size, page_size % 32 == 0);
        for (const Isa isa : available_isas()) {
          CAPTURE(isa_name(isa));
          const ForcedIsa forced(isa);
          for (const int threads : {1, 2}) {
            CHECK(in_arena(threads, [&] { return over_pages(tokens, pages, options); }) == want);
          }
        }
        Pages other(tokens, page_size);
        other.view.table = TensorView<const std::int64_t, 2>(
            other.wide.data(), {1, static_cast<std::int64_t>(other.wide.size())});
        CHECK(over_pages(tokens, other, options) == want);
      }
    }
  }
}

TEST_CASE("weight sums over the caller's pages are those of one tensor") {
  const StreamTokens tokens({.tokens = 330, .seed = 23});
  const Stream& s = tokens.stream;
  const auto sums_by = [&](const auto& attend) {
    std::vector<float> out(static_cast<std::size_t>(s.tokens * s.heads * s.value_dim));
    std::vector<float> sums(static_cast<std::size_t>(s.heads * s.tokens), kNaN);
    attend(out, AttentionOptions{.mask = causal().windowed(200, kNoWindow),
                                 .weight_sums = {sums.data(), {1, s.heads, s.tokens}}});
    return sums;
  };
  const std::vector<float> want = sums_by([&](auto& out, const AttentionOptions& options) {
    reference::attention({tokens.q.data(), {1, s.heads, s.tokens, s.head_dim}},
                         {tokens.k.data(), {1, s.kv_heads, s.tokens, s.head_dim}},
                         {tokens.v.data(), {1, s.kv_heads, s.tokens, s.value_dim}},
                         {out.data(), {1, s.heads, s.tokens, s.value_dim}}, options);
  });
  for (const std::int64_t page_size : {5, 64}) {
    const Pages pages(tokens, page_size);
    for (const Isa isa : available_isas()) {
      const ForcedIsa forced(isa);
      const std::int64_t rows[] = {0, s.tokens};
      CHECK(same_bits(sums_by([&](auto& out, const AttentionOptions& options) {
                        attention(tokens.queries(0, s.tokens), pages.view, rows,
                                  {out.data(), {s.tokens, s.heads, s.value_dim}}, options);
                      }),
                      want));
    }
  }
}

TEST_CASE("invalid pages give an error that names them, and nothing is written") {
  const StreamTokens tokens({.tokens = 100});
  struct Mistake {
    std::function<void(Pages&)> make;
    std::vector<std::string> words;
  };
  const std::vector<Mistake> mistakes{
      {[](Pages& p) { p.table[2] = kPages; }, {"pages.table: entry 700", "(0, 2)"}},
      {[](Pages& p) { p.table[0] = -1; }, {"pages.table: entry -1", "(0, 0)"}},
      {[](Pages& p) { p.lengths[0] = 16 * 9; }, {"pages.kv_lens: length 144", "8 pages of 16"}},
      {[](Pages& p) { p.view.table.narrow.shape[1] = 1; }, {"the 1 page of 16 tokens that"}},
      {[](Pages& p) { p.view.k.shape[0] = p.view.v.shape[0] = 1; },
       {"outside the 1 page of pages.k"}},
      {[](Pages& p) { p.lengths[0] = -1; }, {"pages.kv_lens: length -1"}},
      {[](Pages& p) { p.view.kv_lens = {}; }, {"pages.kv_lens: lengths 0", "1"}},
      {[](Pages& p) { p.view.table.narrow.shape[0] = 2; }, {"pages.table: sequences 2", "1"}},
      {[](Pages& p) { p.view.v.shape[1] = 8; }, {"pages.v: page_size 8", "16"}},
      {[](Pages& p) { p.view.k.shape[3] = 8; }, {"q: head_dim 20", "pages' head_dim 8"}},
      {[](Pages& p) { p.view.k.data = nullptr; }, {"pages.k: "}},
  };
  for (const Mistake& mistake : mistakes) {
    Pages pages(tokens, 16);
    mistake.make(pages);
    StreamOutputs outputs(tokens.stream);
    const std::string sentence = sentence_of([&] {
      const std::int64_t rows[] = {0, 100};
      attention(tokens.queries(0, 100), pages.view, rows, outputs.rows(0, 100));
    });
    CAPTURE(sentence);
    for (const std::string& word : mistake.words) {
      CHECK(sentence.find(word) != std::string::npos);
    }
    CHECK(outputs == StreamOutputs(tokens.stream));
  }
}

}  // namespace rapt::test
