// /proc/self/cgroup names the groups, /proc/self/mountinfo their directories; the files of each
// directory have its quota.
#include "measure/cpu_quota.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::tools {
namespace {

namespace fs = std::filesystem;

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::string part;
  for (std::istringstream stream(text); std::getline(stream, part, separator);) {
    parts.push_back(part);
  }
  return parts;
}

bool lists(const std::string& names, std::string_view name) {
  const std::vector<std::string> parts = split(names, ',');
  return std::find(parts.begin(), parts.end(), name) != parts.end();
}

/// A mounted hierarchy of groups with the cpu controller.
struct Mount {
  bool version2 = false;
  std::string group;  ///< the group at the root of the mount
  fs::path folder;    ///< where it is mounted
};

/// mountinfo escapes blanks and backslashes in names as \040 etc.
std::string unescaped(const std::string& text) {
  const auto octal = [&](std::size_t i) { return text[i] >= '0' && text[i] <= '7'; };
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 3 < text.size() && octal(i + 1) && octal(i + 2) && octal(i + 3)) {
      result += static_cast<char>(std::stoi(text.substr(i + 1, 3), nullptr, 8) & 0xff);
      i += 3;
    } else {
      result += text[i];
    }
  }
  return result;
}

/// "36 35 98:0 /group /where rw,noatime shared:1 - cgroup cgroup rw,cpu,cpuacct".
std::vector<Mount> mounts_of(std::istream& mountinfo) {
  std::vector<Mount> mounts;
  std::string line;
  while (std::getline(mountinfo, line)) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    const std::vector<std::string> place = split(line.substr(0, dash), ' ');
    const std::vector<std::string> system = split(line.substr(dash + 3), ' ');
    if (place.size() < 5 || system.empty()) continue;
    const bool version2 = system[0] == "cgroup2";
    const bool version1 = system[0] == "cgroup" && system.size() >= 3 && lists(system[2], "cpu");
    if (!version1 && !version2) continue;
    mounts.push_back({version2, unescaped(place[3]), unescaped(place[4])});
  }
  return mounts;
}

/// The process's group, from "0::/group" for version 2 or "4:cpu,cpuacct:/group"; "" if there is
/// none.
/// none.
std::string group_of(std::istream& groups, bool version2) {
  std::string line;
  while (std::getline(groups, line)) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool found =
        version2 ? line.substr(0, first) == "0" && controllers.empty() : lists(controllers, "cpu");
    if (found) return line.substr(second + 1);
  }
  return "";
}

std::optional<double> ratio(double quota, double period) {
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return quota / period;
}

/// The quota of one group alone: "150000 100000" or "max 100000", or two files, the first of which
/// may hold -1.
std::optional<double> quota_in(const fs::path& folder, bool version2) {
  double quota = 0, period = 0;
  if (version2) {
    std::ifstream file(folder / "cpu.max");
    return file >> quota >> period ? ratio(quota, period) : std::nullopt;
  }
  std::ifstream quota_file(folder / "cpu.cfs_quota_us");
  std::ifstream period_file(folder / "cpu.cfs_period_us");
  if (!(quota_file >> quota) || !(period_file >> period)) return std::nullopt;
  return ratio(quota, period);
}

/// The path of `group` relative to the root of a mount; nothing if it is not below.
std::optional<fs::path> below(const std::string& group, const std::string& shown) {
  const fs::path path = fs::path(group).lexically_relative(shown);
  if (path.empty() || *path.begin() == "..") return std::nullopt;
  return path;
}

void take_smaller(std::optional<double>& least, std::optional<double> other) {
  if (other && (!least || *other < *least)) least = other;
}

/// The smallest quota of the directories from `path` up to `top`.
std::optional<double> quota_up_to(const fs::path& top, fs::path path, bool version2) {
  std::optional<double> least = quota_in(top, version2);
  for (; !path.empty(); path = path.parent_path()) {
    take_smaller(least, quota_in(top / path, version2));
  }
  return least;
}

}  // namespace

std::optional<double> cpu_quota(const fs::path& root) {
  std::ifstream mountinfo(root / "proc/self/mountinfo");
  const std::vector<Mount> mounts = mounts_of(mountinfo);
  std::optional<double> least;
  for (const bool version2 : {false, true}) {
    std::ifstream groups(root / "proc/self/cgroup");
    const std::string group = group_of(groups, version2);
    if (group.empty()) continue;
    const auto shows_group = [&](const Mount& mount) {
      return mount.version2 == version2 && below(group, mount.group);
    };
    const bool any = std::any_of(mounts.begin(), mounts.end(), shows_group);
    for (const Mount& mount : mounts) {
      // In a container the group may have a name from outside; then use the root of the mount.
      if (mount.version2 != version2 || (any && !shows_group(mount))) continue;
      const fs::path top = root / mount.folder.relative_path();
      take_smaller(least, quota_up_to(top, any ? *below(group, mount.group) : "", version2));
    }
  }
  return least;
}

int threads_within(std::optional<double> quota, int cores) {
  if (!quota || *quota >= cores) return std::max(1, cores);
  return std::max(1, static_cast<int>(std::ceil(*quota)));
}

}  // namespace rapt::tools
