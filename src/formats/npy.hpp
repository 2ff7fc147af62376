// The .npy format on bytes in memory: what NpyFile does after mapping, and what the fuzzer calls.
#pragma once

#include "rapt/weights_file.hpp"

#include <cstddef>
#include <span>
#include <string>

namespace rapt::io {

/// The tensor of a whole .npy file (1.0, 2.0 or 3.0) in `bytes`; its data points into them. Accepts
/// what NumPy writes for plain types in C order, and nothing after the data. Throws
/// Error{malformed_file}: `path`, the byte offset and what was found there.
/// Format: https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
FileTensor parse_npy(std::span<const std::byte> bytes, const std::string& path);

}  // namespace rapt::io
