// Output in one piece, and the formats that all reports share.
#include "command/command.hpp"

#include "rapt/error.hpp"

#include <fmt/format.h>

#include <fcntl.h>
#include <unistd.h>
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <string_view>

namespace rapt::tools {
namespace {

/// Whether the caller left SIGPIPE as it is by default.
bool pipe_ends_process = false;

/// Bytes of the UTF-8 code point at the start of `text`, which is not empty; 0 when there is none.
std::size_t code_point_bytes(std::string_view text) {
  const auto first = static_cast<unsigned char>(text.front());
  const std::size_t count = first < 0x80   ? 1
                            : first < 0xc2 ? 0
                            : first < 0xe0 ? 2
                            : first < 0xf0 ? 3
                            : first < 0xf5 ? 4
                                           : 0;
  if (count > text.size()) return 0;
  for (std::size_t i = 1; i < count; ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xc0) != 0x80) return 0;
  }
  return count;
}

/// Whether a terminal may obey the code point instead of showing it: C0, DEL and C1.
bool is_control(std::string_view code_point) {
  const auto first = static_cast<unsigned char>(code_point.front());
  return first < 0x20 || first == 0x7f ||
         (first == 0xc2 && static_cast<unsigned char>(code_point[1]) < 0xa0);
}

}  // namespace

void prepare_output() {
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    // Takes the lowest free number. Nothing can be written to a folder, nor be read from it.
    if (::fcntl(stream, F_GETFD) < 0) static_cast<void>(::open("/", O_RDONLY));
  }
  std::signal(SIGXFSZ, SIG_IGN);
  pipe_ends_process = std::signal(SIGPIPE, SIG_IGN) != SIG_IGN;
}

void print_out(const std::string& text) {
  const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
  if (!written || std::fflush(stdout) != 0) {
    if (errno == EPIPE && pipe_ends_process) {
      std::signal(SIGPIPE, SIG_DFL);
      std::raise(SIGPIPE);
    }
    throw Error(ErrorCode::file_error,
                fmt::format("standard output: cannot be written: {}", std::strerror(errno)));
  }
}

std::vector<Isa> chosen_isas(const std::string& flag, const std::string& value) {
  if (value == "all") return available_isas();
  if (value == "active") return {active_isa()};
  try {
    const Isa isa = parse_isa(value);
    if (isa_available(isa)) return {isa};
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported_isa) throw;
  }
  throw UsageError(fmt::format("{}: {} cannot be used here; available are {}", flag,
                               printable(value), isa_list(available_isas())));
}

std::string isa_list(std::span<const Isa> isas) {
  std::vector<std::string> names;
  names.reserve(isas.size());
  for (const Isa isa : isas) names.emplace_back(isa_name(isa));
  return joined(names);
}

std::string joined(std::span<const std::string> parts, const std::string& separator) {
  std::string text;
  for (const std::string& part : parts) {
    if (!text.empty()) text += separator;
    text += part;
  }
  return text;
}

std::string hash_of(std::span<const float> values) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : std::as_bytes(values)) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return fmt::format("{:016x}", hash);
}

std::string format_seconds(double seconds) {
  struct Unit {
    double seconds;
    std::string_view name;
  };
  static constexpr Unit kUnits[] = {{1.0, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
  const auto* unit = std::begin(kUnits);
  while (unit + 1 != std::end(kUnits) && seconds < unit->seconds) ++unit;
  const double value = seconds / unit->seconds;
  const int digits = value >= 100.0 ? 0 : value >= 10.0 ? 1 : 2;
  return fmt::format("{:.{}f} {}", value, digits, unit->name);
}

std::string format_bytes(std::int64_t bytes) {
  static constexpr std::string_view kUnits[] = {"B", "KiB", "MiB", "GiB", "TiB"};
  double value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1024.0 && unit + 1 < std::size(kUnits)) {
    value /= 1024.0;
    ++unit;
  }
  return fmt::format("{:.4g} {}", value, kUnits[unit]);
}

std::string format_shape(std::span<const std::int64_t> shape) {
  std::vector<std::string> extents;
  extents.reserve(shape.size());
  for (const std::int64_t extent : shape) extents.push_back(std::to_string(extent));
  return "[" + joined(extents) + "]";
}

std::string printable(std::string_view text) {
  std::string clean;
  while (!text.empty()) {
    const std::size_t count = code_point_bytes(text);
    const std::string_view code_point = text.substr(0, std::max<std::size_t>(count, 1));
    clean += count == 0 || is_control(code_point) ? std::string_view("?") : code_point;
    text.remove_prefix(code_point.size());
  }
  return clean;
}

}  // namespace rapt::tools
