// How a problem transforms the rows of q and k: norms, RoPE tables and positions.
#pragma once

#include "support/problems.hpp"

namespace rapt::test {

/// Sets qk_norm and rope of the problem's options, and their memory, by its spec. The mask must be
/// set already.
void make_row_options(Problem& problem);

}  // namespace rapt::test
