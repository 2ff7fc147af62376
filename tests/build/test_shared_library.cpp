// A user of the shared library catches its errors by their type: the two share one typeinfo.
#include "rapt/rapt.hpp"

#include <cstdio>
#include <exception>
#include <typeinfo>

namespace {

bool caught_by_type() {
  try {
    rapt::parse_isa("no such ISA");
  } catch (const rapt::Error& error) {
    return error.code() == rapt::ErrorCode::unsupported_isa && typeid(error) == typeid(rapt::Error);
  } catch (const std::exception&) {
  }
  return false;
}

bool caught_in_passing() {
  std::exception_ptr passed;
  try {
    rapt::NpyFile("no such file");
  } catch (const std::runtime_error&) {
    passed = std::current_exception();
  }
  try {
    if (passed) std::rethrow_exception(passed);
  } catch (const rapt::Error& error) {
    return error.code() == rapt::ErrorCode::file_error;
  }
  return false;
}

}  // namespace

int main() {
  const bool passed = caught_by_type() && caught_in_passing();
  std::puts(passed ? "caught as rapt::Error" : "not caught as rapt::Error");
  return passed ? 0 : 1;
}
