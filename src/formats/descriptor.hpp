// A file descriptor that closes itself.
#pragma once

#include <unistd.h>
#include <utility>

namespace rapt::io {

/// Closes when it goes out of scope.
class Descriptor {
 public:
  explicit Descriptor(int number) noexcept : number_(number) {}
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (number_ >= 0) ::close(number_);
  }

  int number() const noexcept { return number_; }

  /// Closes now: 0, or the error, which some file systems report only here.
  int close() noexcept;

 private:
  int number_;
};

}  // namespace rapt::io
