// What both formats share: the sentence of a malformed file, and sizes that cannot overflow.
#pragma once

#include "core/out_of_memory.hpp"
#include "rapt/error.hpp"

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace rapt::io {

/// Dimensions that a tensor of a file may have: NumPy's limit, and more than any framework's.
inline constexpr std::size_t kMaxRank = 64;

/// Throws Error{malformed_file}: "<path>: byte <offset>: <what>".
[[noreturn]] void malformed(const std::string& path, std::uint64_t offset, const std::string& what);

/// Throws Error{file_error} for a path with a zero byte, where the system would end it and use
/// another file.
void refuse_zero_byte(const std::string& path);

/// `text` in double quotes with everything but printable ASCII escaped, so that a name from a file
/// can be shown on a terminal; cut after 80 bytes.
std::string quote(std::string_view text);

/// "[2, 3]"
std::string shape_text(std::span<const std::int64_t> shape);

/// The number of elements, or nothing if the product of the nonzero extents reaches 2^63, even next
/// to an extent of 0, since strides are products of them. Extents must not be negative.
std::optional<std::uint64_t> element_count(std::span<const std::int64_t> shape);

/// count * bits / 8, or nothing when that reaches 2^63. count * bits must be a multiple of 8.
std::optional<std::uint64_t> byte_count(std::uint64_t count, unsigned bits);

/// The little-endian unsigned number in `bytes` (at most 8 of them).
std::uint64_t little_endian(std::span<const std::byte> bytes);

/// Calls `read`; a failed allocation in it becomes Error{out_of_memory}, with the path where there
/// is memory for it.
template <class Read>
auto reporting_out_of_memory(const std::string& path, Read&& read) {
  return core::or_out_of_memory([&] {
    try {
      return read();
    } catch (const std::bad_alloc&) {
      throw Error(ErrorCode::out_of_memory, path + ": not enough memory to read the file");
    }
  });
}

/// The code for a system call that failed with `error`.
inline ErrorCode code_of(int error) {
  return error == ENOMEM ? ErrorCode::out_of_memory : ErrorCode::file_error;
}

}  // namespace rapt::io
