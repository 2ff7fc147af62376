// The help of a flag --isa: every ISA that Rapt knows, best first.
#pragma once

#include "kernels/isa_list.hpp"

#include <string>

namespace rapt::tools {

/// rest: what else the flag takes, "active, or all".
inline std::string isa_flag_help(const std::string& rest) {
#define RAPT_WORD(isa) #isa ", "
  return RAPT_KNOWN_ISAS(RAPT_WORD) + rest;
#undef RAPT_WORD
}

}  // namespace rapt::tools
