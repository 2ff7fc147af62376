// open, write, link, rename: every system call needed to write a file, each with its failure.
#include "formats/write_file.hpp"

#include "formats/descriptor.hpp"
#include "formats/malformed.hpp"
#include "rapt/error.hpp"

#include <atomic>
#include <cerrno>
#include <climits>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <system_error>
#include <unistd.h>
#include <utility>

namespace rapt::io {
namespace {

using Parts = std::initializer_list<std::string_view>;

/// The mode with which fopen() creates files, before the umask.
constexpr mode_t kNewFile = 0666;
/// The longest chain of links, as in Linux.
constexpr int kMaxLinks = 40;
/// How many names are tried for a new file.
constexpr int kMaxNames = 100;

[[noreturn]] void fail(const std::string& path, const char* what, int error) {
  throw Error(code_of(error), path + ": " + what + ": " + std::generic_category().message(error));
}

/// Calls again as long as a signal interrupts it.
template <class Call>
auto uninterrupted(Call&& call) {
  auto result = call();
  while (result < 0 && errno == EINTR) result = call();
  return result;
}

Descriptor open_file(const std::string& path, int flags, mode_t mode = 0) {
  return Descriptor(
      uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC | O_NOCTTY, mode); }));
}

std::string folder_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

/// Whether the link itself is in /proc and so leads to an open file instead of a name.
bool is_of_proc(const std::string& link) {
  const Descriptor itself(::open(link.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC));
  struct statfs system {};
  return itself.number() >= 0 && ::fstatfs(itself.number(), &system) == 0 &&
         system.f_type == PROC_SUPER_MAGIC;
}

/// The name at the end of the chain of links at `path`, whether or not it exists; "" if a link of
/// /proc is in the chain.
std::string without_links(const std::string& path) {
  std::string name = path;
  for (int links = 0; links < kMaxLinks; ++links) {
    std::string target(PATH_MAX, '\0');
    const ssize_t length = ::readlink(name.c_str(), target.data(), target.size());
    if (length < 0) return name;
    if (is_of_proc(name)) return "";
    target.resize(static_cast<std::size_t>(length));
    if (target.empty() || target.front() != '/') target.insert(0, folder_of(name) + "/");
    name = std::move(target);
  }
  fail(path, "cannot be opened for writing", ELOOP);
}

/// 0, or the system's reason.
int write_all(int file, Parts parts) {
  for (std::string_view part : parts) {
    while (!part.empty()) {
      const ssize_t count = uninterrupted([&] { return ::write(file, part.data(), part.size()); });
      if (count < 0) return errno;
      if (count == 0) return EIO;
      part.remove_prefix(static_cast<std::size_t>(count));
    }
  }
  return 0;
}

void write_through(const std::string& path, Descriptor file, const struct stat& status,
                   Parts parts) {
  int error = S_ISREG(status.st_mode) && ::ftruncate(file.number(), 0) != 0 ? errno : 0;
  if (error == 0) error = write_all(file.number(), parts);
  const int closing = file.close();
  if (error == 0) error = closing;
  if (error != 0) fail(path, "cannot be written", error);
}

/// A name in the folder that is unlikely to be taken; creating the file detects if it is.
std::string unlikely_name(const std::string& folder) {
  static std::atomic<std::uint64_t> count{0};
  timespec now{};
  ::clock_gettime(CLOCK_REALTIME, &now);
  const auto moment = static_cast<std::uint64_t>(now.tv_sec) * 1000000000u +
                      static_cast<std::uint64_t>(now.tv_nsec) + ++count;
  char name[64];
  std::snprintf(name, sizeof name, "/.rapt-%lx-%llx", static_cast<unsigned long>(::getpid()),
                static_cast<unsigned long long>(moment));
  return folder + name;
}

/// The new file, which gets its place only when it is complete.
class NewFile {
 public:
  /// Without a name if `nameless`, which not every file system supports.
  NewFile(const std::string& folder, bool nameless)
      : folder_(folder),
        file_(nameless ? open_file(folder, O_TMPFILE | O_WRONLY, kNewFile) : create_named()) {
    error_ = file_.number() < 0 ? errno : 0;
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!name_.empty()) ::unlink(name_.c_str());
  }

  /// 0 and the file is empty, or the error that prevented a new file.
  int error() const noexcept { return error_; }

  /// Fills it and gives it the permissions of `old`, if that exists. 0, or the error.
  int fill(Parts parts, const struct stat* old) {
    if (const int error = write_all(file_.number(), parts); error != 0) return error;
    if (old == nullptr) return 0;
    // Without the right to change the owner the file stays ours, perhaps in the old group; the
    // set-user-ID bit is then dropped.
    const bool given = ::fchown(file_.number(), old->st_uid, old->st_gid) == 0;
    [[maybe_unused]] const bool shared =
        given || ::fchown(file_.number(), static_cast<uid_t>(-1), old->st_gid) == 0;
    if (::fchmod(file_.number(), old->st_mode & (given ? 07777u : 0777u)) != 0) return errno;
    // If the machine stops after the rename, both contents must not be lost.
    return uninterrupted([&] { return ::fsync(file_.number()); }) == 0 ? 0 : errno;
  }

  /// Replaces `target` by it. 0, or the error.
  int take_place(const std::string& target, bool replaces) {
    if (name_.empty()) {
      int error = replaces ? EEXIST : link_as(target);
      if (error == 0) return 0;
      // Only a named file can replace another.
      for (int i = 0; i < kMaxNames && error == EEXIST; ++i) {
        const std::string name = unlikely_name(folder_);
        error = link_as(name);
        if (error == 0) name_ = name;
      }
      if (error != 0) return error;
    }
    if (const int error = file_.close(); error != 0) return error;
    if (::rename(name_.c_str(), target.c_str()) != 0) return errno;
    name_.clear();
    return 0;
  }

 private:
  Descriptor create_named() {
    for (int i = 0; i < kMaxNames; ++i) {
      std::string name = unlikely_name(folder_);
      Descriptor file = open_file(name, O_CREAT | O_EXCL | O_WRONLY, kNewFile);
      if (file.number() >= 0) name_ = std::move(name);
      if (file.number() >= 0 || errno != EEXIST) return file;
    }
    return Descriptor(-1);
  }

  int link_as(const std::string& name) const {
    char own[64];
    std::snprintf(own, sizeof own, "/proc/self/fd/%d", file_.number());
    return ::linkat(AT_FDCWD, own, AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) == 0 ? 0 : errno;
  }

  std::string folder_;
  std::string name_;  ///< "" while it has no name
  Descriptor file_;
  int error_ = 0;
};

void replace(const std::string& path, const std::string& target, const struct stat* old,
             Parts parts) {
  const std::string folder = folder_of(target);
  {
    NewFile file(folder, true);
    if (file.error() == 0) {
      const int error = file.fill(parts, old);
      if (error != 0) fail(path, "cannot be written", error);
      if (file.take_place(target, old != nullptr) == 0) return;
    }
  }
  // Not every file system has nameless files, and without /proc they cannot be named.
  NewFile file(folder, false);
  if (file.error() != 0) fail(path, "cannot be opened for writing", file.error());
  int error = file.fill(parts, old);
  if (error == 0) error = file.take_place(target, old != nullptr);
  if (error != 0) fail(path, "cannot be written", error);
}

}  // namespace

int Descriptor::close() noexcept {
  const int number = std::exchange(number_, -1);
  // Linux has closed it even if a signal interrupted the call.
  return number >= 0 && ::close(number) != 0 && errno != EINTR ? errno : 0;
}

void write_file(const std::string& path, Parts parts) {
  refuse_zero_byte(path);
  // A file that may not be written is not replaced either.
  Descriptor file = open_file(path, O_WRONLY);
  if (file.number() < 0) {
    const int error = errno;
    const std::string target = error == ENOENT && !path.empty() ? without_links(path) : "";
    if (target.empty() || target.back() == '/') fail(path, "cannot be opened for writing", error);
    replace(path, target, nullptr, parts);
    return;
  }
  struct stat status {};
  if (::fstat(file.number(), &status) != 0) fail(path, "cannot be examined", errno);
  const std::string target = S_ISREG(status.st_mode) ? without_links(path) : "";
  if (target.empty()) {
    write_through(path, std::move(file), status, parts);
  } else {
    replace(path, target, &status, parts);
  }
}

}  // namespace rapt::io
