#include "rapt/t5_bias.hpp"

#include "core/counted.hpp"
#include "core/default_arithmetic.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"

#include <algorithm>
#include <cmath>
#include <string>

namespace rapt {
namespace {

using core::fail;

void check_buckets(const T5Buckets& config) {
  const std::int64_t least = config.bidirectional ? 4 : 2;
  if (config.buckets < least || (config.bidirectional && config.buckets % 2 != 0)) {
    fail("config.buckets: " + std::to_string(config.buckets) + " is not " +
         (config.bidirectional ? "an even number of at least 4" : "at least 2"));
  }
  const std::int64_t exact = config.buckets / least;
  if (config.max_distance <= exact) {
    fail("config.max_distance: " + std::to_string(config.max_distance) +
         " is not above the distances with buckets of their own, " + std::to_string(exact));
  }
}

}  // namespace

std::int64_t t5_bucket(std::int64_t distance, const T5Buckets& config) try {
  check_buckets(config);
  const std::int64_t n = config.bidirectional ? config.buckets / 2 : config.buckets;
  const std::int64_t exact = n / 2;
  const std::int64_t first = config.bidirectional && distance > 0 ? n : 0;
  if (!config.bidirectional) distance = std::min<std::int64_t>(distance, 0);
  const core::DefaultArithmetic mode;
  // Converted to double first: the smallest integer has no negative.
  const double x = std::fabs(static_cast<double>(distance));
  const auto e = static_cast<double>(exact);
  if (x < e) return first + static_cast<std::int64_t>(x);
  if (x == e) return first + exact;
  // In exact arithmetic a border at a whole number is reached exactly; 1e-9 exceeds the error of
  // any library's logarithm, so that it is reached everywhere.
  const double place = std::log(x / e) / std::log(static_cast<double>(config.max_distance) / e) *
                           static_cast<double>(n - exact) +
                       1e-9;
  // Infinite if buckets are so close together that their logarithms are equal.
  if (!(place < static_cast<double>(n - exact))) return first + n - 1;
  return first + std::min(n - 1, exact + static_cast<std::int64_t>(place));
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

void t5_bias(TensorView<const float, 2> table, const T5Buckets& config, std::int64_t q_len,
             TensorView<float, 2> by_distance) try {
  check_buckets(config);
  const core::MemoryRange read = core::check_input("table", table);
  const core::MemoryRange written = core::check_output("by_distance", by_distance);
  core::check_extent("table: rows", table.shape[0], "config.buckets", config.buckets);
  core::check_extent("by_distance: heads", by_distance.shape[0], "the table's", table.shape[1]);
  if (q_len < 1 || q_len > by_distance.shape[1]) {
    fail("q_len: " + std::to_string(q_len) + " is not within 1 and the " +
         core::counted(by_distance.shape[1], "distance") + " of by_distance");
  }
  core::check_disjoint("by_distance", written, "table", read);
  if (by_distance.shape[0] == 0) return;
  for (std::int64_t i = 0; i < by_distance.shape[1]; ++i) {
    const std::int64_t bucket = t5_bucket(i - (q_len - 1), config);
    for (std::int64_t h = 0; h < by_distance.shape[0]; ++h) {
      by_distance(h, i) = table(bucket, h);
    }
  }
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
