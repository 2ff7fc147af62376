// One of the two processes that benchmarks/guard.py times in turns. It reads commands from its
// standard input, one per line, and answers each with one line:
//   cells                      the cells, a line each (name, tab, flags), then an empty line
//   isas                       the ISAs that can run here, best first
//   begin CELL ISA THREADS     creates the inputs and calls once; answers the hash of the output
//   time CALLS                 answers the seconds per call
#include "guard_cells.hpp"
#include "rapt/isa.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iostream>
#include <memory>
#include <sstream>
#include <string>

namespace guard {
namespace {

/// FNV-1a: equal hashes indicate equal bits.
std::uint64_t hash_of(std::span<const float> values) {
  std::uint64_t hash = 0xcbf29ce484222325u;
  for (const std::byte byte : std::as_bytes(values)) {
    hash = (hash ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3u;
  }
  return hash;
}

class Worker {
 public:
  void obey(const std::string& line) {
    std::istringstream words(line);
    std::string verb;
    words >> verb;
    if (verb == "cells") list_cells();
    if (verb == "isas") list_isas();
    if (verb == "begin") begin(words);
    if (verb == "time") time(words);
    std::fflush(stdout);
  }

 private:
  static void list_cells() {
    for (const Cell& cell : cells()) {
      std::printf("%s\t%d\t%d\n", cell.name.c_str(), cell.shared, cell.scalar);
    }
    std::printf("\n");
  }

  static void list_isas() {
    for (const rapt::Isa isa : rapt::available_isas()) {
      std::printf("%s ", std::string(rapt::isa_name(isa)).c_str());
    }
    std::printf("\n");
  }

  void begin(std::istringstream& words) {
    std::size_t cell = 0;
    std::string isa;
    int threads = 1;
    words >> cell >> isa >> threads;
    rapt::force_isa(rapt::parse_isa(isa));
    work_.reset();
    arena_ = std::make_unique<oneapi::tbb::task_arena>(threads);
    work_ = cells().at(cell).make();
    arena_->execute([&] { work_->call(); });
    std::printf("%016llx\n", static_cast<unsigned long long>(hash_of(work_->output())));
  }

  void time(std::istringstream& words) {
    std::int64_t calls = 1;
    words >> calls;
    double seconds = 0;
    arena_->execute([&] {
      const auto start = std::chrono::steady_clock::now();
      for (std::int64_t i = 0; i < calls; ++i) work_->call();
      seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    });
    std::printf("%.9g\n", seconds / static_cast<double>(calls));
  }

  std::unique_ptr<oneapi::tbb::task_arena> arena_;
  std::unique_ptr<Work> work_;
};

}  // namespace
}  // namespace guard

int main() {
  try {
    guard::Worker worker;
    for (std::string line; std::getline(std::cin, line);) worker.obey(line);
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "guard_worker: %s\n", error.what());
    return 1;
  }
}
