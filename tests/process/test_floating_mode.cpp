// A caller may use another rounding mode or flush subnormals, in its thread or in those of its
// arena: results have the same bits, and the mode is restored.
#include "core/same_bits.hpp"
#include "process/entry_points.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"

#include <doctest/doctest.h>
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include <atomic>
#include <cfenv>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

namespace rapt::test {
namespace {

/// The control register of the vector unit, on processors that the test supports.
std::uint64_t control() {
#if defined(__x86_64__)
  return _mm_getcsr() & ~0x3fu;  // without the flags
#elif defined(__aarch64__)
  std::uint64_t value = 0;
  asm volatile("mrs %0, fpcr" : "=r"(value));
  return value;
#else
  return static_cast<std::uint64_t>(std::fegetround());
#endif
}

void set_control(std::uint64_t value) {
#if defined(__x86_64__)
  _mm_setcsr(static_cast<std::uint32_t>(value));
#elif defined(__aarch64__)
  asm volatile("msr fpcr, %0" : : "r"(value) : "memory");
#else
  std::fesetround(static_cast<int>(value));
#endif
}

struct Mode {
  std::string name;
  std::uint64_t bits;  // instead of the default's 0
};

const std::vector<Mode>& modes() {
#if defined(__x86_64__)
  static const std::vector<Mode> all{{"downward", 0x2000},
                                     {"upward", 0x4000},
                                     {"toward zero", 0x6000},
                                     {"flush to zero, subnormals are zeros", 0x8040},
                                     {"all of it", 0xe040}};
#elif defined(__aarch64__)
  static const std::vector<Mode> all{{"upward", 1u << 22},
                                     {"downward", 2u << 22},
                                     {"toward zero", 3u << 22},
                                     {"flush to zero", 1u << 24},
                                     {"default NaN", 1u << 25}};
#else
  static const std::vector<Mode> all{{"upward", FE_UPWARD}, {"downward", FE_DOWNWARD}};
#endif
  return all;
}

/// A mode in the calling thread.
class InMode {
 public:
  explicit InMode(const Mode& mode) : before_(control()) { set_control(before_ | mode.bits); }
  ~InMode() { set_control(before_); }
  InMode(const InMode&) = delete;
  InMode& operator=(const InMode&) = delete;

 private:
  std::uint64_t before_;
};

/// A mode in the threads of an arena while they work in it.
class ModeInArena : public tbb::task_scheduler_observer {
 public:
  ModeInArena(tbb::task_arena& arena, const Mode& mode)
      : tbb::task_scheduler_observer(arena), mode_(mode) {
    observe(true);
  }
  ~ModeInArena() override { observe(false); }
  ModeInArena(const ModeInArena&) = delete;
  ModeInArena& operator=(const ModeInArena&) = delete;
  void on_scheduler_entry(bool) override { set_control(control() | mode_.bits); }
  void on_scheduler_exit(bool) override { set_control(control() & ~mode_.bits); }

 private:
  const Mode& mode_;
};

/// Numbers of which every other one is subnormal, built from integers so that no mode affects them.
std::vector<float> with_subnormals(std::int64_t count, std::uint32_t seed) {
  std::vector<float> floats;
  for (std::int64_t i = 0; i < count; ++i) {
    seed = seed * 1664525 + 1013904223;
    const std::uint32_t bits = i % 2 == 0 ? seed & 0x807fffffu : (seed & 0x803fffffu) | 0x3f000000u;
    floats.push_back(0.0f);
    std::memcpy(&floats.back(), &bits, sizeof(bits));
  }
  return floats;
}

using Values = std::function<std::vector<float>()>;

/// Calls beyond the entry points: values at the limits, and functions that keep no memory.
std::vector<std::pair<std::string, Values>> more_calls() {
  static const std::vector<float> x = with_subnormals(4 * 9 * 32, 7);
  static const std::vector<float> bias = with_subnormals(9 * 9, 8), slopes{0x1.8p-130f, 0.3f};
  const auto rows = [](auto* data) {
    return TensorView<std::remove_pointer_t<decltype(data)>, 4>(data, {1, 4, 9, 32});
  };
  return {{"attention with options",
           [rows] {
             std::vector<float> out(x.size()), lse(4 * 9);
             const std::vector<float> per_head{slopes[0], slopes[1], slopes[0], slopes[1]};
             attention(rows(x.data()), rows(x.data()), rows(x.data()), rows(out.data()),
                       {.bias = {bias.data(), {1, 1, 9, 9}, {0, 0, 9, 1}},
                        .soft_cap = 3.0f,
                        .alibi_slopes = per_head,
                        .softmax_scale = 0.1f,
                        .lse = {lse.data(), {1, 4, 9}}});
             out.insert(out.end(), lse.begin(), lse.end());
             return out;
           }},
          {"merge",
           [rows] {
             std::vector<float> out(x.size()), lse(4 * 9);
             const TensorView<const float, 3> from(x.data(), {1, 4, 9});
             merge(AttentionResult<const float>{rows(x.data()), from},
                   AttentionResult<const float>{rows(x.data()), from},
                   AttentionResult<float>{rows(out.data()), {lse.data(), {1, 4, 9}}});
             return out;
           }},
          {"Linear",
           [] {
             std::vector<float> y(9 * 32);
             Linear({x.data(), {32, 32}}).forward({x.data(), {9, 32}}, {y.data(), {9, 32}});
             return y;
           }},
          {"rms_norm",
           [rows] {
             std::vector<float> y(x.size());
             rms_norm(rows(x.data()), rows(y.data()), {}, 0x1p-140f);
             return y;
           }},
          {"layer_norm",
           [rows] {
             std::vector<float> y(x.size());
             layer_norm(rows(x.data()), rows(y.data()), {.epsilon = 0x1p-140f});
             return y;
           }},
          {"softmax",
           [rows] {
             std::vector<float> y(x.size());
             softmax(rows(x.data()), rows(y.data()));
             return y;
           }},
          {"rms_norm and embedding_lookup between types",
           [] {
             const TensorView<const float, 2> rows(x.data(), {4 * 9, 32});
             const std::vector<std::int64_t> ids{3, 0, 35};
             std::vector<float> all, y(x.size()), picked(3 * 32);
             for (const DType type : {DType::bf16, DType::f16}) {
               std::vector<std::uint16_t> halves(x.size());
               const TensorView<void, 2> middle(halves.data(), type, {4 * 9, 32});
               rms_norm(rows, middle, {}, 1.0f);
               rms_norm(middle, TensorView<float, 2>(y.data(), {4 * 9, 32}));
               all.insert(all.end(), y.begin(), y.end());
               all.insert(all.end(), halves.begin(), halves.end());
               embedding_lookup(middle, ids, TensorView<float, 2>(picked.data(), {3, 32}));
               embedding_lookup(rows, ids, middle.sliced(0, 0, 3));
               all.insert(all.end(), halves.begin(), halves.end());
               all.insert(all.end(), picked.begin(), picked.end());
             }
             return all;
           }},
          {"RopeTable and apply_rope",
           [rows] {
             std::vector<float> y(x.size());
             using Kind = RopeScaling::Kind;
             const RopeTable table(
                 Rope::half,
                 {.rotary_dims = 32,
                  .positions = 40,
                  .scaling = {.kind = Kind::yarn, .factor = 3.7, .original_positions = 13}});
             apply_rope(rows(x.data()), rows(y.data()), table, 31);
             return y;
           }},
          {"t5_bucket",
           [] {
             std::vector<float> buckets;
             for (std::int64_t d = -200; d <= 200; ++d) {
               buckets.push_back(static_cast<float>(t5_bucket(d, {})));
             }
             return buckets;
           }},
          {"copy_as_float",
           [] {
             std::vector<float> floats;
             const std::vector<double> values{0.1, 1.0 / 3.0, 1e-40, -1e-42, 1e300, 0x1.000001p0};
             for (const auto& [type, count] : {std::pair{DType::f64, 6}, std::pair{DType::f16, 24},
                                               std::pair{DType::bf16, 24}}) {
               const FileTensor tensor{.name = "t",
                                       .dtype = type,
                                       .shape = {count},
                                       .data = reinterpret_cast<const std::byte*>(values.data()),
                                       .nbytes = 48};
               const std::vector<float> copy = tensor.copy_as_float();
               floats.insert(floats.end(), copy.begin(), copy.end());
             }
             return floats;
           }},
          {"copy_scaled", [] {
             const std::vector<std::int32_t> integers{0x7fffffff, 3, -0x7ffffffd, 1};
             const FileTensor tensor{.name = "t",
                                     .dtype = DType::i32,
                                     .shape = {4},
                                     .data = reinterpret_cast<const std::byte*>(integers.data()),
                                     .nbytes = 16};
             return tensor.copy_scaled(std::vector<float>{0.1f, 0x1p-140f, 0.1f, 0x1.8p-148f});
           }}};
}

std::vector<std::pair<std::string, Values>> all_calls() {
  std::vector<std::pair<std::string, Values>> calls = more_calls();
  for (const EntryPoint& entry_point : entry_points()) {
    calls.emplace_back(entry_point.name, [&entry_point] {
      std::vector<float> y;
      entry_point.call(y);
      return y;
    });
  }
  return calls;
}

}  // namespace

TEST_CASE("a caller's rounding and flushing modes change no bit, and are restored afterwards") {
  const auto calls = all_calls();
  const tbb::global_control allow(tbb::global_control::max_allowed_parallelism, 4);
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    std::vector<std::vector<float>> want;
    for (const auto& call : calls) want.push_back(call.second());
    for (const Mode& mode : modes()) {
      CAPTURE(mode.name);
      const InMode in_mode(mode);
      tbb::task_arena arena(4);  // its tasks run in the mode of the thread that created it
      const ModeInArena in_arena(arena, mode);
      for (std::size_t i = 0; i < calls.size(); ++i) {
        CAPTURE(calls[i].first);
        std::vector<float> got;
        bool kept = true;
        arena.execute([&] {
          const InMode in_arena_too(mode);
          const std::uint64_t before = control();
          got = calls[i].second();
          kept = control() == before;
        });
        CHECK(same_bits(got, want[i]));
        CHECK(kept);
      }
    }
  }
}

TEST_CASE("a caller's mode is restored after an error and after an exception of its callback") {
  const std::vector<float> x(64, 0.5f);
  std::vector<float> y(64);
  const TensorView<const float, 4> in(x.data(), {1, 1, 8, 8});
  for (const Mode& mode : modes()) {
    CAPTURE(mode.name);
    const InMode in_mode(mode);
    const std::uint64_t before = control();
    CHECK_THROWS_AS(attention(in, in, in, {y.data(), {1, 1, 8, 7}}), Error);
    CHECK(control() == before);
    std::uint64_t inside = before;
    const auto callback = [&](const ScoreTile&) {
      inside = control();
      throw std::runtime_error("enough");
    };
    CHECK_THROWS_AS(attention(in, in, in, {y.data(), {1, 1, 8, 8}}, {.score_callback = callback}),
                    std::runtime_error);
    CHECK(control() == before);
    CHECK(inside == (before & ~mode.bits));
  }
}

}  // namespace rapt::test
