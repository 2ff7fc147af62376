// The sentence of an error, which most tests of mistakes compare.
#pragma once

#include "rapt/error.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>

namespace rapt::test {

/// The sentence of the Error{code} that `call` throws; "" when it throws none.
inline std::string sentence_of(const std::function<void()>& call,
                               ErrorCode code = ErrorCode::invalid_argument) {
  try {
    call();
  } catch (const Error& error) {
    CHECK(error.code() == code);
    return error.what();
  }
  return "";
}

}  // namespace rapt::test
