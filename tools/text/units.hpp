// Numbers as reports show them: times and sizes in the unit that suits them.
#pragma once

#include <cstdint>
#include <string>

namespace rapt::tools {

/// A duration in the unit that suits it, with three digits: "812 ns", "4.07 us", "12.3 ms", "1.20
/// s".
std::string format_seconds(double seconds);

/// A size in bytes in the unit that suits it: "48 KiB", "1.5 MiB".
std::string format_bytes(std::int64_t bytes);

}  // namespace rapt::tools
