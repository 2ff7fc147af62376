// The work that benchmarks/guard.sh times on two commits: public functions only, so that one source
// compiles against the headers of both.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace guard {

/// Inputs in memory and one call of a public function on them.
class Work {
 public:
  virtual ~Work() = default;
  virtual void call() = 0;
  virtual std::span<const float> output() const = 0;
};

struct Cell {
  std::string name;     ///< the operation and its sizes
  bool shared = false;  ///< also timed on every core
  bool scalar = false;  ///< small enough for the scalar kernels
  std::function<std::unique_ptr<Work>()> make;
};

const std::vector<Cell>& cells();

}  // namespace guard
