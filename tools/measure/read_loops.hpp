// Plain loops that only read memory: the limit of all work that must read its inputs once.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rapt::tools {

/// The order in which a loop reads a range: the fastest one depends on the machine and on the size
/// of its pages.
struct ReadWay {
  int streams;  ///< equal parts of the range that are read in parallel
  int ahead;    ///< distance in bytes of the software prefetch in each stream; 0: none
};

/// The orders that are tried.
std::span<const ReadWay> read_ways();

/// Reads `count` floats (a multiple of 64 streams) with the widest vectors of this machine and sums
/// them, so that no load can be omitted. The result depends on all of them.
float read_floats(const float* from, std::size_t count, const ReadWay& way);

/// "4 streams, prefetched 4096 bytes ahead".
std::string sentence(const ReadWay& way);

}  // namespace rapt::tools
