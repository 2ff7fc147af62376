// The sentence of an error, as most tests of wrong arguments compare it.
#pragma once

#include "rapt/error.hpp"

#include <doctest/doctest.h>

#include <functional>
#include <string>

namespace rapt::test {

/// The sentence of the Error{code} that `call` throws; "" if it throws none.
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
