// Explains the time of a measured call: kernel, tiles, items, work, and the theoretical limit.
#pragma once

#include "command/rounds.hpp"
#include "text/json.hpp"

#include <string>
#include <utility>
#include <vector>

namespace rapt::tools {

/// The explanation of one result of `rapt bench --explain`.
struct Explanation {
  std::string kernel;                  ///< ISA, register and cache tiles
  std::string choice;                  ///< why this ISA
  std::string sharing;                 ///< the reason for how the work is divided
  std::int64_t items = 0, splits = 0;  ///< of all phases; splits: those whose keys are split
  double largest_to_mean = 1;          ///< of the costliest phase
  double intensity = 0;                ///< FLOP per byte
  double products = 0, softmax = 0, packing = 0, folding = 0;  ///< seconds on the measured threads
  double compute = 0;    ///< until the last thread finishes, seconds at the measured peak
  double memory = 0;     ///< seconds to move all data once; 0 if it fits in the caches
  double predicted = 0;  ///< the larger of both
  double measured = 0;   ///< the median
  std::vector<std::pair<int, double>> efficiency;  ///< predicted, per number of threads
};

/// Explains a result that was measured with `threads` threads.
Explanation explain(const WorkResult& result, int threads);

/// Lines of text, each indented by two.
std::string to_text(const Explanation& explanation, const WorkResult& result);

Json to_json(const Explanation& explanation);

}  // namespace rapt::tools
