// The version of these headers and of the library that is loaded.
#pragma once

#include "rapt/export.hpp"

#define RAPT_VERSION "0.1.0"

namespace rapt {

/// The version of the library in use, such as "0.1.0"; compare with RAPT_VERSION of the headers.
RAPT_API const char* version() noexcept;

}  // namespace rapt
