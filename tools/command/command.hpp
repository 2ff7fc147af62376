// What the commands share: registration, usage errors, output in one piece, the choice of an ISA.
#pragma once

#include "rapt/isa.hpp"

#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace CLI {
class App;
}

namespace rapt::tools {

void add_info(CLI::App& app);
void add_run(CLI::App& app);
void add_check(CLI::App& app);
void add_bench(CLI::App& app);
void add_compare(CLI::App& app);

/// A command line that cannot be obeyed; one sentence that begins with the flag. Exit status 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Prepares for output that fails. A closed stream is occupied, or the first file that is opened
/// would become it and get what is printed; limits of size and pipes without a reader are errors of
/// the write, not signals.
void prepare_output();

/// Writes `text` to standard output and flushes it. Where its reader has left, the process ends by
/// SIGPIPE as filters do, unless the caller ignores that. Throws Error{file_error} when that fails,
/// as on a full disk.
void print_out(const std::string& text);

/// The ISAs that a flag's value means: "active", "all" (every available one, best first) or a name.
/// Throws UsageError naming `flag` for an unknown name or one that cannot run here.
std::vector<Isa> chosen_isas(const std::string& flag, const std::string& value);

/// Forces `isa` for a scope.
class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) { force_isa(isa); }
  ~ForcedIsa() { reset_isa(); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
};

/// "avx512, avx2, scalar".
std::string isa_list(std::span<const Isa> isas);

/// "a, b, c".
std::string joined(std::span<const std::string> parts, const std::string& separator = ", ");

/// FNV-1a with 64 bits over the bytes of `values`, as 16 hexadecimal digits: equal hashes stand for
/// equal bits.
std::string hash_of(std::span<const float> values);

/// A duration in the unit that suits it, with three digits: "812 ns", "4.07 us", "12.3 ms", "1.20
/// s".
std::string format_seconds(double seconds);

/// A size in bytes in the unit that suits it: "48 KiB", "1.5 MiB".
std::string format_bytes(std::int64_t bytes);

/// The shape as "[5, 16]".
std::string format_shape(std::span<const std::int64_t> shape);

/// `text` with '?' for every control character and every byte that is no UTF-8: for words and names
/// from outside that go to a terminal or into a file.
std::string printable(std::string_view text);

}  // namespace rapt::tools
