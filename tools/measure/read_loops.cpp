#include "measure/read_loops.hpp"

#include "dispatch/dispatch.hpp"
#include "rapt/isa.hpp"

#include <fmt/format.h>

namespace rapt::tools {

std::span<const ReadWay> read_ways() {
  static constexpr ReadWay kWays[] = {{1, 0},    {1, 4096}, {1, 8192}, {2, 0},
                                      {2, 4096}, {4, 0},    {4, 4096}, {8, 0}};
  return kWays;
}

float read_floats(const float* from, std::size_t count, const ReadWay& way) {
  // A copy: the table of kernels may be replaced, with their tuning.
  static const kernels::KernelSet widest = dispatch::kernels_of(available_isas().front());
  return widest.read_floats({.from = from,
                             .count = static_cast<std::int64_t>(count),
                             .streams = way.streams,
                             .ahead = way.ahead / static_cast<std::int64_t>(sizeof(float))});
}

std::string sentence(const ReadWay& way) {
  std::string text = fmt::format("{} stream{}", way.streams, way.streams == 1 ? "" : "s");
  if (way.ahead != 0) text += fmt::format(", prefetched {} bytes ahead", way.ahead);
  return text;
}

}  // namespace rapt::tools
