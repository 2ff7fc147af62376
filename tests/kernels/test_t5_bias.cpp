// T5's buckets against the published formula, and its bias by distance against the whole matrix.
#include "layer/layer_problem.hpp"
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

/// _relative_position_bucket of the published code, with its float32 logarithm.
std::int64_t published_bucket(std::int64_t relative_position, bool bidirectional,
                              std::int64_t num_buckets, std::int64_t max_distance) {
  std::int64_t bucket = 0;
  if (bidirectional) {
    num_buckets /= 2;
    bucket += relative_position > 0 ? num_buckets : 0;
    relative_position = std::abs(relative_position);
  } else {
    relative_position = -std::min<std::int64_t>(relative_position, 0);
  }
  const std::int64_t max_exact = num_buckets / 2;
  if (relative_position < max_exact) return bucket + relative_position;
  const float ratio = static_cast<float>(relative_position) / static_cast<float>(max_exact);
  const float place = std::log(ratio) /
                      static_cast<float>(std::log(static_cast<double>(max_distance) /
                                                  static_cast<double>(max_exact))) *
                      static_cast<float>(num_buckets - max_exact);
  return bucket + std::min(max_exact + static_cast<std::int64_t>(place), num_buckets - 1);
}

}  // namespace

TEST_CASE("T5's buckets are those of its published code") {
  for (const T5Buckets& config : {T5Buckets{}, T5Buckets{.bidirectional = false},
                                  T5Buckets{.buckets = 64, .max_distance = 500},
                                  T5Buckets{.buckets = 10, .max_distance = 11}}) {
    CAPTURE(config.buckets);
    for (std::int64_t distance = -1000; distance <= 1000; ++distance) {
      CAPTURE(distance);
      REQUIRE(t5_bucket(distance, config) == published_bucket(distance, config.bidirectional,
                                                              config.buckets, config.max_distance));
    }
  }
  // Integer borders: 8 * 2^(1/2 * 2) and 8 * 2^(1/2 * 6).
  CHECK(t5_bucket(-15, {}) == 9);
  CHECK(t5_bucket(-16, {}) == 10);
  CHECK(t5_bucket(63, {}) == 29);
  CHECK(t5_bucket(64, {}) == 30);
  CHECK(t5_bucket(std::numeric_limits<std::int64_t>::min(), {}) == 15);
  CHECK(t5_bucket(std::numeric_limits<std::int64_t>::max(), {}) == 31);
}

TEST_CASE("an integer border between T5's buckets is exact") {
  // Distances exact * 2^i up to exact * 2^doublings; the expected bucket is computed in integers.
  for (std::int64_t exact = 1; exact < 40; ++exact) {
    for (int doublings = 1; doublings < 12; ++doublings) {
      const T5Buckets config{
          .buckets = 2 * exact, .max_distance = exact << doublings, .bidirectional = false};
      for (int i = 0; i < doublings; ++i) {
        CHECK_MESSAGE(t5_bucket(-(exact << i), config) == exact + i * exact / doublings, "exact ",
                      exact, " doublings ", doublings, " i ", i);
      }
    }
  }
}

TEST_CASE("T5's bias by distance has the bits of the whole matrix") {
  constexpr std::int64_t kHeads = 3, kQLen = 37, kKvLen = 290, kDim = 16;
  const std::vector<float> table = normal_floats(32 * kHeads, 5);
  std::vector<float> by_distance(kHeads * (kQLen + kKvLen - 1));
  const TensorView<float, 2> distances(by_distance.data(), {kHeads, kQLen + kKvLen - 1});
  t5_bias({table.data(), {32, kHeads}}, {}, kQLen, distances);

  std::vector<float> matrix;
  for (std::int64_t h = 0; h < kHeads; ++h) {
    for (std::int64_t i = 0; i < kQLen; ++i) {
      for (std::int64_t j = 0; j < kKvLen; ++j) {
        matrix.push_back(
            table[static_cast<std::size_t>(published_bucket(j - i, true, 32, 128) * kHeads + h)]);
      }
    }
  }
  const std::vector<float> q = normal_floats(kHeads * kQLen * kDim, 6);
  const std::vector<float> k = normal_floats(kHeads * kKvLen * kDim, 7);
  const auto attend = [&](const TensorView<const float, 4>& bias) {
    std::vector<float> out(q.size());
    const TensorView<const float, 4> keys(k.data(), {1, kHeads, kKvLen, kDim});
    attention({q.data(), {1, kHeads, kQLen, kDim}}, keys, keys,
              {out.data(), {1, kHeads, kQLen, kDim}}, {.bias = bias});
    return out;
  };
  for (const Isa isa : available_isas()) {
    CAPTURE(isa_name(isa));
    const ForcedIsa forced(isa);
    const std::vector<float> got = attend(t5_bias_view(distances, kQLen));
    const std::vector<float> want = attend({matrix.data(), {1, kHeads, kQLen, kKvLen}});
    CHECK(same_bits(got, want));
  }
}

TEST_CASE("an invalid T5 bias gives an error that names the argument, and nothing is written") {
  std::vector<float> table(64, 1.0f), by_distance(20, -7.0f);
  const TensorView<const float, 2> good_table(table.data(), {32, 2});
  const TensorView<float, 2> good_out(by_distance.data(), {2, 10});
  const auto check = [&](const std::string& words, const TensorView<const float, 2>& rows,
                         const T5Buckets& config, std::int64_t q_len,
                         const TensorView<float, 2>& out) {
    const std::string sentence = sentence_of([&] { t5_bias(rows, config, q_len, out); });
    CAPTURE(sentence);
    CHECK(sentence.find(words) != std::string::npos);
    CHECK(by_distance == std::vector<float>(20, -7.0f));
  };
  check("config.buckets: 33 is not an even number", good_table, {.buckets = 33}, 4, good_out);
  check("config.buckets: 1 is not at least 2", good_table, {.buckets = 1, .bidirectional = false},
        4, good_out);
  check("config.max_distance: 8 ", good_table, {.max_distance = 8}, 4, good_out);
  check("table: rows 32 does not match config.buckets 16", good_table, {.buckets = 16}, 4,
        good_out);
  check("by_distance: heads 1 ", good_table, {}, 4, good_out.sliced(0, 0, 1));
  check("q_len: 11 is not within 1 and the 10", good_table, {}, 11, good_out);
  check("q_len: 4 is not within 1 and the 1 distance of", good_table, {}, 4,
        good_out.sliced(1, 0, 1));
  check("q_len: 0 ", good_table, {}, 0, good_out);
  check("table: no memory", {nullptr, {32, 2}}, {}, 4, good_out);
  check("by_distance: overlaps table", {by_distance.data(), {4, 2}},
        {.buckets = 4, .max_distance = 9}, 4, good_out);
}

}  // namespace rapt::test
