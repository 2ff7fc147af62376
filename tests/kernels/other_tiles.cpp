// A table of ISAs with one row, in place of the library's: the scalar kernels, compiled once more
// with the row `scalar_other` of kernels/tile/tuning.hpp. The tests of rapt_tests that compare bits
// run on them, so that what holds of the library's tiles is seen to hold of any.
#include "dispatch/isa_table.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

#include <doctest/doctest.h>

namespace rapt::kernels::scalar {

extern const KernelSet kKernels;

}  // namespace rapt::kernels::scalar

namespace rapt::dispatch {

// This definition wins over that of the library's archive, whose object is then not linked.
std::span<const IsaRow> isa_table() noexcept {
  static constexpr IsaRow kTable[] = {
      {Isa::scalar, &kernels::scalar::kKernels, []() noexcept { return true; }}};
  return kTable;
}

}  // namespace rapt::dispatch

TEST_SUITE("other tiles") {
  TEST_CASE("the kernels of this program are the scalar ones with tiles of their own") {
    REQUIRE(rapt::available_isas().size() == 1);
    const rapt::kernels::KernelSet& kernels = *rapt::dispatch::isa_table().front().kernels;
    CHECK(kernels.lanes == 1);
    CHECK(kernels.tiles.rows == 5);
    CHECK(kernels.tiles.columns == 2);
    CHECK(kernels.tiles.query_rows == 80);
  }
}
