// Out of memory at the border of a public function: throws an error that needs no allocation.
#pragma once

#include "rapt/error.hpp"

#include <new>

namespace rapt::core {

/// For handlers of std::bad_alloc, where there may be no memory for a sentence with values.
[[noreturn]] inline void fail_out_of_memory() {
  throw Error(ErrorCode::out_of_memory, SentenceLiteral("memory: none is left for the call"));
}

/// Returns body(); a failed allocation in it, even one for the sentence of an error, becomes
/// Error{out_of_memory}.
template <class Body>
decltype(auto) or_out_of_memory(Body&& body) {
  try {
    return body();
  } catch (const std::bad_alloc&) {
    fail_out_of_memory();
  }
}

}  // namespace rapt::core
