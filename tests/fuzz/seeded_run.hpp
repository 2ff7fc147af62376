// The command line of programs that draw problems by seed: PROGRAM FIRST_SEED COUNT.
#pragma once

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <string_view>

namespace rapt::test {

/// Whether all of `text` is a number, stored in `number`.
inline bool read_number(std::string_view text, std::uint64_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc() && end == text.data() + text.size();
}

/// The last line of a run.
inline void print_failures(std::uint64_t first, std::uint64_t count, std::uint64_t failed) {
  std::printf("seeds %llu to %llu: %llu failed\n", static_cast<unsigned long long>(first),
              static_cast<unsigned long long>(first + count - 1),
              static_cast<unsigned long long>(failed));
}

/// The exit status of `run`; 2 for a wrong command line and 1 for an exception.
inline int seeded_run(const char* program, int argc, char** argv,
                      int (*run)(std::uint64_t first, std::uint64_t count)) {
  std::uint64_t first = 0, count = 0;
  if (argc != 3 || !read_number(argv[1], first) || !read_number(argv[2], count)) {
    std::fprintf(stderr, "usage: %s FIRST_SEED COUNT\n", program);
    return 2;
  }
  try {
    return run(first, count);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}

}  // namespace rapt::test
