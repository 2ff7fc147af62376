// The CPU quota that Linux's control groups set for this process.
#pragma once

#include <filesystem>
#include <optional>

namespace rapt::tools {

/// The CPU quota in processors, such as 1.5: the smallest of the process's control groups up to the
/// outermost visible one, of versions 1 and 2. Nothing if there is no readable quota.
///   root: the directory that contains proc/ and the mount points, for tests.
std::optional<double> cpu_quota(const std::filesystem::path& root = "/");

/// The number of threads that can run all the time under `quota`, rounded up: at least 1, at most
/// `cores`.
int threads_within(std::optional<double> quota, int cores);

}  // namespace rapt::tools
