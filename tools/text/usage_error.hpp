// What is wrong with a command line.
#pragma once

#include <stdexcept>

namespace rapt::tools {

/// A command line that cannot be obeyed; one sentence that begins with the flag. Exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rapt::tools
