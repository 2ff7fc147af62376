// CPU quotas of control groups, read from directory trees of the test.
#include "measure/cpu_quota.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

namespace {

using rapt::tools::cpu_quota;
using rapt::tools::threads_within;

/// A directory with the files of /proc and of mounted control groups.
class FakeRoot {
 public:
  FakeRoot(const std::string& groups, const std::string& mounts) {
    write("proc/self/cgroup", groups);
    write("proc/self/mountinfo", mounts);
  }
  void write(const std::string& path, const std::string& text) {
    const std::filesystem::path file = folder_.path(path);
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  double quota() const { return cpu_quota(folder_.path("")).value_or(0); }

 private:
  rapt::test::TemporaryDirectory folder_;
};

const std::string kProc = "22 28 0:21 / /proc rw,nosuid shared:13 - proc proc rw\n";

std::string version2(const std::string& group = "/", const std::string& where = "/sys/fs/cgroup") {
  return kProc + "35 24 0:30 " + group + " " + where + " rw shared:9 - cgroup2 cgroup2 rw\n";
}

std::string version1(const std::string& group = "/") {
  return kProc + "41 31 0:36 " + group +
         " /sys/fs/cgroup/memory rw shared:14 - cgroup cgroup rw,memory\n"
         "40 31 0:35 " +
         group + " /sys/fs/cgroup/cpu,cpuacct rw shared:15 - cgroup cgroup rw,cpu,cpuacct\n";
}

}  // namespace

TEST_CASE("the smallest CPU quota between a process's group and the outermost one counts") {
  FakeRoot root("0::/outer/middle/own\n", version2());
  CHECK(root.quota() == 0);
  root.write("sys/fs/cgroup/outer/cpu.max", "350000 100000\n");
  CHECK(root.quota() == 3.5);
  root.write("sys/fs/cgroup/outer/middle/cpu.max", "max 100000\n");
  root.write("sys/fs/cgroup/outer/middle/own/cpu.max", "800000 100000\n");
  CHECK(root.quota() == 3.5);
  root.write("sys/fs/cgroup/outer/middle/own/cpu.max", "20000 10000\n");
  CHECK(root.quota() == 2);
  root.write("sys/fs/cgroup/other/cpu.max", "10000 100000\n");
  root.write("sys/fs/cgroup/outer/other/cpu.max", "10000 100000\n");
  CHECK(root.quota() == 2);
  root.write("sys/fs/cgroup/cpu.max", "100000 100000\n");
  CHECK(root.quota() == 1);
}

TEST_CASE("CPU quotas of version 1 are those of the hierarchy with the controller cpu") {
  FakeRoot root("5:memory:/docker\n4:cpuacct,cpu:/a/b\n1:name=systemd:/\n0::/\n", version1());
  const std::string cpu = "sys/fs/cgroup/cpu,cpuacct/";
  root.write(cpu + "a/b/cpu.cfs_quota_us", "-1\n");
  root.write(cpu + "a/b/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 0);
  root.write(cpu + "a/cpu.cfs_quota_us", "50000\n");
  CHECK(root.quota() == 0);
  root.write(cpu + "a/cpu.cfs_period_us", "100000\n");
  CHECK(root.quota() == 0.5);
  root.write(cpu + "a/b/cpu.cfs_quota_us", "25000\n");
  CHECK(root.quota() == 0.25);
  // cpuset is another controller.
  FakeRoot without("4:cpuset:/a\n", version1());
  without.write(cpu + "a/cpu.cfs_quota_us", "50000\n");
  without.write(cpu + "a/cpu.cfs_period_us", "100000\n");
  CHECK(without.quota() == 0);
}

TEST_CASE("both versions of control groups are read when mounted together") {
  FakeRoot root("2:cpu:/a\n0::/b\n", version1() + version2("/", "/sys/fs/cgroup/unified"));
  root.write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us", "300000");
  root.write("sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us", "100000");
  CHECK(root.quota() == 3);
  root.write("sys/fs/cgroup/unified/b/cpu.max", "200000 100000");
  CHECK(root.quota() == 2);
}

TEST_CASE("a mount of a subtree of the control groups is read relative to it") {
  FakeRoot root("0::/docker/abc/own\n", version2("/docker/abc"));
  root.write("sys/fs/cgroup/own/cpu.max", "400000 100000");
  CHECK(root.quota() == 4);
  root.write("sys/fs/cgroup/cpu.max", "150000 100000");
  CHECK(root.quota() == 1.5);

  // "/docker/abcdef" is not below "/docker/abc"; the name of the group comes from outside.
  FakeRoot outside("0::/docker/abcdef\n", version2("/docker/abc"));
  outside.write("sys/fs/cgroup/cpu.max", "150000 100000");
  outside.write("sys/fs/cgroup/def/cpu.max", "50000 100000");
  CHECK(outside.quota() == 1.5);
  FakeRoot above("0::/../..\n", version2());
  above.write("sys/fs/cgroup/cpu.max", "150000 100000");
  CHECK(above.quota() == 1.5);

  // A second mount shows another group.
  FakeRoot two("0::/a\n", version2() + version2("/b", "/mnt/b"));
  two.write("sys/fs/cgroup/a/cpu.max", "200000 100000");
  two.write("mnt/b/cpu.max", "100000 100000");
  CHECK(two.quota() == 2);

  FakeRoot blank("0::/a b\n", version2("/", "/sys/fs/c\\040g\\134"));
  blank.write("sys/fs/c g\\/a b/cpu.max", "200000 100000");
  CHECK(blank.quota() == 2);
}

TEST_CASE("control groups with invalid values leave every core") {
  CHECK_FALSE(cpu_quota("/nonexistent"));
  for (const std::string text :
       {"", "max", "100000", "0 100000", "-5 100000", "100000 0", "nan 1", "x y", "5 -1"}) {
    CAPTURE(text);
    FakeRoot root("0::/\n", version2());
    root.write("sys/fs/cgroup/cpu.max", text);
    CHECK(root.quota() == 0);
  }
  for (const std::string text : {"", "0", "::", "0:", "x:y", "0::"}) {
    CAPTURE(text);
    FakeRoot root(text, "a line\n - \n1 2 3 - cgroup2\n1 2 3 / - cgroup\n" + version2());
    root.write("sys/fs/cgroup/x/cpu.max", "100000 100000");
    CHECK(root.quota() == 0);
  }
}

TEST_CASE("a fraction of a core's quota counts as a thread") {
  struct Case {
    double quota;
    int cores, threads;
  };
  for (const Case& one : {Case{0.01, 8, 1},
                          {1.0, 8, 1},
                          {1.2, 8, 2},
                          {2.0, 8, 2},
                          {7.5, 8, 8},
                          {9.0, 8, 8},
                          {1e300, 8, 8},
                          {0.5, 1, 1}}) {
    CAPTURE(one.quota);
    CHECK(threads_within(one.quota, one.cores) == one.threads);
  }
  CHECK(threads_within(std::nullopt, 8) == 8);
}
