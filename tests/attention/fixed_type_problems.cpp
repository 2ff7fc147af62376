// The fixed problems of tensors and caches of other types than f32.
#include "attention/fixed_problems.hpp"
#include "rapt/kv_cache.hpp"
#include "reference/scalar.hpp"
#include "support/paged_problem.hpp"
#include "support/problems.hpp"
#include "support/ragged_problem.hpp"

#include <cstdint>
#include <string>
#include <utility>

namespace rapt::test {
namespace {

struct TypeCase {
  const char* name;
  Types types;
  std::int64_t q_len, kv_len, head_dim, value_dim;
  bool bias = false;
};

constexpr DType kF32 = DType::f32, kBf16 = DType::bf16, kF16 = DType::f16;

constexpr TypeCase kTypeCases[] = {
    {"types.bf16", {kBf16, kBf16, kBf16, kBf16, kF32}, 37, 300, 64, 64},
    {"types.f16", {kF16, kF16, kF16, kF16, kF32}, 37, 300, 64, 64},
    {"types.bf16_decode", {kBf16, kBf16, kBf16, kBf16, kF32}, 1, 1000, 128, 128},
    {"types.f16_decode", {kF16, kF16, kF16, kF16, kF32}, 2, 1000, 80, 48},
    {"types.mixed", {kF32, kBf16, kF16, kBf16, kF16}, 9, 270, 33, 20, true},
    {"types.out_f16", {kF32, kF32, kF32, kF16, kBf16}, 20, 20, 16, 16, true},
};

Spec spec_of(const TypeCase& p) {
  Spec spec;
  spec.shape = {1, 6, 2, p.q_len, p.kv_len, p.head_dim, p.value_dim};
  spec.mask = causal_bottom_right();
  spec.bias = p.bias;
  spec.types = p.types;
  spec.seed = hash_text(p.name);
  return spec;
}

std::vector<float> solve_types(const TypeCase& p, const Engine& engine) {
  const Problem problem(spec_of(p));
  AttentionFunction* const library = attention;
  AttentionFunction* const attend = engine.statement ? &reference::attention : library;
  return run(*attend, problem).out_storage;
}

struct CacheCase {
  const char* name;
  DType type;
  std::int64_t q_len;
};

constexpr CacheCase kCacheCases[] = {
    {"cache.bf16", kBf16, 40},   {"cache.bf16_decode", kBf16, 1},
    {"cache.f16", kF16, 40},     {"cache.f16_decode", kF16, 1},
    {"cache.i8", DType::i8, 40}, {"cache.i8_decode", DType::i8, 1},
};

std::vector<float> solve_cache(const CacheCase& p, const Engine& engine) {
  const bool as_bytes = p.type == DType::i8;
  const DType tensors = as_bytes ? kF32 : p.type;
  const Problem problem(
      spec_of({p.name, {kF32, tensors, tensors, kF32, kF32}, p.q_len, 600, 72, 96}));
  const Cuts whole{.q = {0, p.q_len}, .kv = {0, 600}};
  if (engine.statement) return run_ragged_statement(problem, whole, as_bytes).out_storage;
  return run_cached(attention, problem, whole, Random(1), as_bytes).out_storage;
}

}  // namespace

std::vector<FixedProblem> fixed_type_problems() {
  std::vector<FixedProblem> list;
  for (const TypeCase& p : kTypeCases) {
    list.push_back({p.name, [&p](const Engine& engine) { return solve_types(p, engine); }});
  }
  for (const CacheCase& p : kCacheCases) {
    list.push_back({p.name, [&p](const Engine& engine) { return solve_cache(p, engine); }});
  }
  return list;
}

}  // namespace rapt::test
