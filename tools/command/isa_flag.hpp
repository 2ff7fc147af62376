// The help of the flag --isa: every ISA that Rapt supports, best first.
#pragma once

#include "kernels/isa_list.hpp"

#include <string>

namespace rapt::tools {

/// rest: the other values of the flag, "active, or all".
inline std::string isa_flag_help(const std::string& rest) {
#define RAPT_WORD(isa) #isa ", "
  return RAPT_KNOWN_ISAS(RAPT_WORD) + rest;
#undef RAPT_WORD
}

}  // namespace rapt::tools
