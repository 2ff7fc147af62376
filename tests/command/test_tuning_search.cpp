// When a number of the tuning is chosen instead of the default.
#include "measure/tuning_search.hpp"

#include <doctest/doctest.h>

#include <vector>

namespace rapt::tools {

TEST_CASE("a value is chosen if it is clearly faster in median and in most rounds") {
  CHECK(is_faster({{0.97, 0.96, 0.97, 0.95, 0.97, 1.2}}));
  CHECK_FALSE(is_faster({{0.99, 0.985, 0.99, 0.985, 0.99}}));         // by less than 2 %
  CHECK_FALSE(is_faster({{0.9, 0.9, 0.9, 1.01, 1.01, 0.97, 1.01}}));  // in four rounds of seven
  CHECK_FALSE(is_faster({{0.5, 0.5, 0.5, 0.5}}));                     // in too few rounds
}

TEST_CASE("a value that is slower on one of the workloads is not chosen") {
  const std::vector<double> faster(9, 0.9), equal(9, 1.0), slower(9, 1.05);
  CHECK(is_faster({faster, equal}));
  CHECK_FALSE(is_faster({faster, slower}));
  CHECK_FALSE(is_faster({equal, equal}));
}

}  // namespace rapt::tools
