// The machine that a tuning is for.
#pragma once

#include <string>
#include <vector>

namespace rapt::dispatch {

/// "AuthenticAMD family 26 model 2 stepping 1, L2 1048576, L3 33554432": the processor, and bytes
/// of its caches. What the system does not say is "unknown" or left out. Tunings are exchanged
/// between machines with the same text.
std::string machine_id();

/// The same from the texts of /proc/cpuinfo and of the files level, type and size of each cache.
struct CacheText {
  std::string level, type, size;
};
std::string machine_id_of(const std::string& cpuinfo, const std::vector<CacheText>& caches);

}  // namespace rapt::dispatch
