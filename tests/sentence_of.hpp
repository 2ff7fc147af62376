// The sentence of an error, which most tests of mistakes compare.
#pragma once

#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "rapt/error.hpp"

namespace rapt::test {

/// The sentence of the Error{invalid_argument} that `call` throws; "" when it throws none.
inline std::string sentence_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == ErrorCode::invalid_argument);
    return error.what();
  }
  return "";
}

}  // namespace rapt::test
