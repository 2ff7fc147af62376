// Plain loops that read memory and do nothing else: the limit of whatever must read its inputs
// once.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace rapt::tools {

/// How a loop goes through a range: which of them is fastest differs between machines, and with
/// the size of their pages.
struct ReadWay {
  int streams;  ///< equal parts of the range that are read side by side
  int ahead;    ///< bytes that a software prefetch runs ahead in each stream; 0: none
};

/// The ways that are worth a try.
std::span<const ReadWay> read_ways();

/// Reads `count` floats (a multiple of 64 streams) with the widest vectors of this machine, adding
/// them up so that no load can be left out. Returns a value that depends on all of them.
float read_floats(const float* from, std::size_t count, const ReadWay& way);

/// "4 streams, prefetched 4096 bytes ahead".
std::string sentence(const ReadWay& way);

}  // namespace rapt::tools
