// The file of a tuning: a JSON object of a version, a machine and sections of numbers.
//
//     {"rapt_tuning": 1, "machine": "...", "call": {"inline_work": 524288}, "avx2": {...}}
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace rapt::io {

/// Bytes that such a file may have; a full one has less than 2 KiB.
inline constexpr std::size_t kTuningFileBytes = std::size_t{64} << 10;
/// The version that this library reads and writes.
inline constexpr std::int64_t kTuningVersion = 1;

struct TuningNumber {
  std::string section, name;
  std::int64_t value;
};

struct TuningFile {
  std::string machine;
  std::vector<TuningNumber> numbers;  ///< no two with the same section and name
};

/// Throws Error{file_error} for a file that cannot be read or is too large, Error{malformed_file}
/// for any other grammar, with the path and what is wrong. Which sections, names and values are
/// right is up to the caller.
TuningFile read_tuning_file(const std::string& path);

}  // namespace rapt::io
