// A table of ISAs with one row, in place of the library's: the scalar kernels, compiled again with
// the shape `scalar_other` of kernels/tile/tuning.hpp. The bit-comparison tests of rapt_tests run
// on them, to show that results hold for any tile sizes.
#include "dispatch/isa_table.hpp"
#include "kernels/abi/kernel_set.hpp"
#include "rapt/isa.hpp"

#include <doctest/doctest.h>

namespace rapt::kernels::scalar {

extern const KernelSet kKernels;

}  // namespace rapt::kernels::scalar

namespace rapt::dispatch {

// This definition replaces that of the library's archive, whose object is then not linked.
std::span<const IsaRow> isa_table() noexcept {
  static constexpr IsaRow kTable[] = {
      {Isa::scalar, &kernels::scalar::kKernels, []() noexcept { return true; }}};
  return kTable;
}

}  // namespace rapt::dispatch

TEST_SUITE("other tiles") {
  TEST_CASE("the kernels of this program are scalar ones with different tiles") {
    REQUIRE(rapt::available_isas().size() == 1);
    const rapt::kernels::KernelSet& kernels = *rapt::dispatch::isa_table().front().kernels;
    CHECK(kernels.lanes == 1);
    CHECK(kernels.tiles.rows == 5);
    CHECK(kernels.tiles.columns == 2);
    CHECK(kernels.tiles.most_query_rows == 80);
    CHECK(kernels.tuning.pack_values_rows == 7);
  }
}
