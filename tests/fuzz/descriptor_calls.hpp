// One call of a public function with drawn arguments, whichever it is.
#pragma once

#include <cstdint>
#include <string>

namespace rapt::test {

/// What a call came to. `fault` is empty when it succeeded or threw an Error with a code that
/// belongs to the function and a sentence.
struct CallEnd {
  const char* function;
  bool succeeded;
  std::string fault;
};

/// The call of this seed; the same on every machine.
CallEnd call_with_drawn_arguments(std::uint64_t seed);

}  // namespace rapt::test
