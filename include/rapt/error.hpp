// The one exception type of the library.
#pragma once

#include <stdexcept>
#include <string>

#include "rapt/export.hpp"

namespace rapt {

enum class ErrorCode {
  invalid_argument,  ///< A shape, stride, count or option that the call cannot accept.
  unsupported_isa,   ///< An instruction set that is unknown, not compiled in, or not on this CPU.
  out_of_memory,     ///< A buffer could not be allocated; nothing was changed.
  file_error,        ///< A file that is missing or cannot be read.
  malformed_file,    ///< A file whose contents break its format.
  cache_full,        ///< A cache whose budget has no page left; nothing was changed.
};

/// What every function of Rapt throws: a code to branch on and one sentence that names the argument
/// and the values. The library never prints and never aborts.
class RAPT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence) : std::runtime_error(sentence), code_(code) {}
  ErrorCode code() const noexcept { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace rapt
