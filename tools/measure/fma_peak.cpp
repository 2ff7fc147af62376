#include "measure/fma_peak.hpp"

#include "dispatch/dispatch.hpp"

namespace rapt::tools {

double run_fma_chains(Isa isa, std::int64_t iterations) {
  const kernels::KernelSet& kernels = dispatch::kernels_of(isa);
  volatile float sink = kernels.fma_chains(iterations);
  static_cast<void>(sink);
  return 2.0 * kernels::kFmaChains * kernels.lanes * static_cast<double>(iterations);
}

}  // namespace rapt::tools
