// Types and addresses that attention() cannot take: errors that name the argument, on every form of
// the call, and nothing is written.
#include "core/same_bits.hpp"
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr std::int64_t kTokens = 3, kDim = 8;
const std::vector<std::int64_t> kRows{0, kTokens}, kLens{kTokens};

/// The tensors of one call, [1, 1, 3, 8] each, in separate memory.
struct Call {
  std::vector<float> memory = std::vector<float>(5 * 64, 0.5f);
  TensorView<void, 4> q = tensor(0), k = tensor(1), v = tensor(2), out = tensor(3),
                      bias = tensor(4);

  Call() { bias.shape = {1, 1, kTokens, kTokens}; }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  TensorView<void, 4> tensor(std::size_t i) {
    return {memory.data() + 64 * i, DType::f32, {1, 1, kTokens, kDim}};
  }
};

/// [1, 1, tokens, dim] as packed rows [tokens, 1, dim].
template <class Void>
TensorView<Void, 3> packed(const TensorView<Void, 4>& x) {
  return {x.data, x.dtype, {x.shape[2], 1, x.shape[3]}, {x.strides[2], 0, 1}};
}

/// Pages of one page, [1, tokens, 1, dim].
TensorView<const void, 4> page(const TensorView<void, 4>& x) {
  return {x.data, x.dtype, {1, x.shape[2], 1, x.shape[3]}, {0, x.strides[2], 0, 1}};
}

void attend(const Call& c) { attention(c.q, c.k, c.v, c.out, {.bias = c.bias}); }

void attend_ragged(const Call& c) {
  attention(packed(c.q), packed(c.k), packed(c.v), packed(c.out), {.q = kRows, .kv = kRows},
            {.bias = c.bias});
}

void attend_paged(const Call& c) {
  const std::vector<std::int64_t> table{0};
  PagedKeyValues pages;
  pages.k = page(c.k);
  pages.v = page(c.v);
  pages.table = TensorView<const std::int64_t, 2>(table.data(), {1, 1});
  pages.kv_lens = kLens;
  attention(packed(c.q), pages, kRows, packed(c.out), {.bias = c.bias});
}

void attend_cached(const Call& c) {
  KvCache cache({.kv_heads = 1, .head_dim = kDim});
  const std::vector<float> tokens(static_cast<std::size_t>(kTokens * kDim), 0.25f);
  const TensorView<const float, 3> rows(tokens.data(), {kTokens, 1, kDim});
  const std::int64_t sequence = cache.add();
  cache.append(sequence, rows, rows);
  attention(packed(c.q), cache, sequence, packed(c.out), {.bias = c.bias});
}

using Change = std::function<void(TensorView<void, 4>&)>;

/// The sentence of a call after a change of one tensor; checks that nothing was written.
std::string sentence(void (*call)(const Call&), TensorView<void, 4> Call::*tensor,
                     const Change& change) {
  Call c;
  change(c.*tensor);
  const std::vector<float> before = c.memory;
  std::string text = sentence_of([&] { call(c); });
  CHECK(same_bits(c.memory, before));
  return text;
}

struct Argument {
  const char* name;
  TensorView<void, 4> Call::*tensor;
};

/// Calls check(call, name, tensor) for each tensor of each form of the call.
void on_arguments(const std::function<void(void (*)(const Call&), const std::string&,
                                           TensorView<void, 4> Call::*)>& check) {
  const std::vector<Argument> q_out{{"q", &Call::q}, {"out", &Call::out}, {"bias", &Call::bias}};
  std::vector<Argument> all = q_out, paged = q_out;
  all.insert(all.end(), {{"k", &Call::k}, {"v", &Call::v}});
  paged.insert(paged.end(), {{"pages.k", &Call::k}, {"pages.v", &Call::v}});
  for (const Argument& argument : all) {
    check(attend, argument.name, argument.tensor);
    check(attend_ragged, argument.name, argument.tensor);
  }
  for (const Argument& argument : paged) check(attend_paged, argument.name, argument.tensor);
  for (const Argument& argument : q_out) check(attend_cached, argument.name, argument.tensor);
}

}  // namespace

TEST_CASE("every form of attention takes a tensor of 16 bits wherever it takes one of f32") {
  on_arguments([](void (*call)(const Call&), const std::string& name, auto tensor) {
    for (const DType type : {DType::bf16, DType::f16}) {
      Call c;
      (c.*tensor).dtype = type;
      CAPTURE(name);
      CHECK_NOTHROW(call(c));
    }
  });
}

TEST_CASE("a type of attention's tensors that is none of f32, bf16 and f16 is an error") {
  on_arguments([](void (*call)(const Call&), const std::string& name, auto tensor) {
    for (const DType type : {DType::f64, DType::i16, DType::boolean, DType::other,
                             static_cast<DType>(14), static_cast<DType>(255)}) {
      CHECK(sentence(call, tensor, [&](auto& view) { view.dtype = type; }) ==
            name + ": type " + std::string(dtype_name(type)) + " is none of f32, bf16 and f16");
    }
  });
}

TEST_CASE("an address that is no multiple of the size of an element is an error") {
  on_arguments([](void (*call)(const Call&), const std::string& name, auto tensor) {
    const auto moved = [&](DType type, std::int64_t bytes) {
      return sentence(call, tensor, [&](auto& view) {
        view.dtype = type;
        view.data = static_cast<char*>(view.data) + bytes;
      });
    };
    const auto wrong = [&](int size) {
      return name + ": the address is not a multiple of the " + std::to_string(size) +
             " bytes of an element";
    };
    CHECK(moved(DType::f32, 1) == wrong(4));
    CHECK(moved(DType::f32, 2) == wrong(4));
    CHECK(moved(DType::bf16, 1) == wrong(2));
    CHECK(moved(DType::f16, 3) == wrong(2));
  });
}

TEST_CASE("an output over the memory of an input of another type is an error") {
  for (const DType type : {DType::bf16, DType::f16}) {
    for (void (*const call)(const Call&) : {attend, attend_ragged}) {
      Call c;
      c.out.data = c.q.data;
      c.out.dtype = type;
      CHECK(sentence_of([&] { call(c); }) == "out: overlaps q");
      // The second half of the elements of f32, which no element of 16 bits reaches.
      c.out.data = static_cast<float*>(c.k.data) + kTokens * kDim / 2;
      CHECK(sentence_of([&] { call(c); }) == "out: overlaps k");
      // k of 16 bits ends before it.
      c.k.dtype = type;
      CHECK_NOTHROW(call(c));
    }
  }
}

}  // namespace rapt::test
