// How much processor time Linux's control groups leave to this process.
#pragma once

#include <filesystem>
#include <optional>

namespace rapt::tools {

/// The processors whose whole time the process may take, such as 1.5: the smallest quota of its
/// control groups from its own up to the outermost one that can be seen, of version 1 and 2.
/// Nothing when there is no quota, or none that can be read.
///   root: the folder that proc/ and the mount points are in, another one in tests.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// The threads that can run all the time under `quota`, rounded up: at least 1, at most `cores`.
int threads_within(std::optional<double> quota, int cores);

}  // namespace rapt::tools
