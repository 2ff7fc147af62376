// The border of every public function where memory runs out: what is thrown there needs none.
#pragma once

#include <new>

#include "rapt/error.hpp"

namespace rapt::core {

/// In a handler of std::bad_alloc, where there may be no memory for a sentence with values either.
[[noreturn]] inline void fail_out_of_memory() {
  throw Error(ErrorCode::out_of_memory, SentenceLiteral("memory: none is left for the call"));
}

/// Returns body(); an allocation that fails in it, also one for the sentence of an error, becomes
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
