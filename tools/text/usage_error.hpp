// The error of a wrong command line.
#pragma once

#include <stdexcept>

namespace rapt::tools {

/// A command line that cannot be executed; one sentence that starts with the flag. Exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

}  // namespace rapt::tools
