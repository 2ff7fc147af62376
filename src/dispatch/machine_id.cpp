#include "dispatch/machine_id.hpp"

#include "formats/small_file.hpp"
#include "rapt/error.hpp"

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <cstdint>

namespace rapt::dispatch {
namespace {

constexpr std::size_t kFields = 8192;  // of the first processor in /proc/cpuinfo, at most
constexpr std::size_t kWord = 64;
constexpr int kMostCaches = 8;

/// The beginning of a file of the system; "" if it cannot be read.
std::string text_of(const std::string& path, std::size_t most) {
  try {
    return io::read_beginning(path, most);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::out_of_memory) throw;
    return "";
  }
}

/// `text` without the space around it, and only of letters that can be printed.
std::string trimmed(std::string text) {
  const auto is_space = [](char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; };
  std::erase_if(text, [&](char c) { return !is_space(c) && (c < '!' || c > '~'); });
  text.erase(text.begin(), std::ranges::find_if_not(text, is_space));
  while (!text.empty() && is_space(text.back())) text.pop_back();
  return text;
}

/// The value of the first line "key : value".
std::string field_of(const std::string& text, const std::string& key) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::size_t colon = text.find(':', at);
    if (colon < end && trimmed(text.substr(at, colon - at)) == key) {
      return trimmed(text.substr(colon + 1, end - colon - 1));
    }
    at = end + 1;
  }
  return "";
}

void add(std::string& id, const char* name, const std::string& value) {
  if (!value.empty()) id += (id.empty() ? "" : " ") + (name + value);
}

/// "1024K" is 1048576 bytes.
std::string bytes_of(const std::string& size) {
  std::int64_t bytes = 0;
  for (const char c : size.substr(0, 12)) {
    if (c >= '0' && c <= '9') bytes = bytes * 10 + (c - '0');
    if (c == 'K') bytes *= 1 << 10;
    if (c == 'M') bytes *= 1 << 20;
  }
  return std::to_string(bytes);
}

}  // namespace

std::string machine_id_of(const std::string& cpuinfo, const std::vector<CacheText>& caches) {
  std::string id;
  add(id, "", field_of(cpuinfo, "vendor_id"));
  add(id, "family ", field_of(cpuinfo, "cpu family"));
  add(id, "model ", field_of(cpuinfo, "model"));
  add(id, "stepping ", field_of(cpuinfo, "stepping"));
  add(id, "implementer ", field_of(cpuinfo, "CPU implementer"));
  add(id, "part ", field_of(cpuinfo, "CPU part"));
  add(id, "variant ", field_of(cpuinfo, "CPU variant"));
  if (id.empty()) id = "unknown";
  for (const char* level : {"2", "3"}) {
    for (const CacheText& cache : caches) {
      if (trimmed(cache.level) != level || trimmed(cache.type) == "Instruction") continue;
      id += std::string(", L") + level + " " + bytes_of(trimmed(cache.size));
    }
  }
  return id;
}

std::string machine_id() {
  std::vector<CacheText> caches;
  for (int i = 0; i < kMostCaches; ++i) {
    const std::string folder = "/sys/devices/system/cpu/cpu0/cache/index" + std::to_string(i) + "/";
    const std::string level = text_of(folder + "level", kWord);
    if (level.empty()) break;
    caches.push_back({level, text_of(folder + "type", kWord), text_of(folder + "size", kWord)});
  }
  return machine_id_of(text_of("/proc/cpuinfo", kFields), caches);
}

}  // namespace rapt::dispatch
