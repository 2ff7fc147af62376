// A call of a random public function with random arguments.
#pragma once

#include <cstdint>
#include <string>

namespace rapt::test {

/// The outcome of a call. `fault` is empty if it succeeded or threw an Error with a sentence and a
/// code that the function may use.
struct CallEnd {
  const char* function;
  bool succeeded;
  std::string fault;
};

/// The call of this seed; the same on every machine.
CallEnd call_with_drawn_arguments(std::uint64_t seed);

}  // namespace rapt::test
