// The version of the library in use.
#include "rapt/version.hpp"

namespace rapt {

const char* version() noexcept { return RAPT_VERSION; }

}  // namespace rapt
