// Numbers in reports: times and sizes in suitable units.
#pragma once

#include <cstdint>
#include <string>

namespace rapt::tools {

/// A duration in a suitable unit with three digits: "812 ns", "4.07 us", "12.3 ms", "1.20 s".
std::string format_seconds(double seconds);

/// A size in bytes in a suitable unit: "48 KiB", "1.5 MiB".
std::string format_bytes(std::int64_t bytes);

}  // namespace rapt::tools
