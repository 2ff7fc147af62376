// Why a measured call takes the time it takes: kernel, tiles, items, work, the limit on paper.
#pragma once

#include "command/rounds.hpp"
#include "text/json.hpp"

#include <string>
#include <utility>
#include <vector>

namespace rapt::tools {

/// What `rapt bench --explain` says about one result.
struct Explanation {
  std::string kernel;                  ///< ISA, register and cache tiles
  std::string choice;                  ///< why this ISA
  std::string sharing;                 ///< why the work is cut as it is
  std::int64_t items = 0, splits = 0;  ///< of all phases; those whose keys are shared out
  double largest_to_mean = 1;          ///< of the costliest phase
  double intensity = 0;                ///< FLOP per byte
  double products = 0, softmax = 0, packing = 0, folding = 0;  ///< seconds on the measured threads
  double compute = 0;    ///< the last thread is done, seconds at the measured peak
  double memory = 0;     ///< seconds to move everything once; 0 when the caches hold it
  double predicted = 0;  ///< the longer of both
  double measured = 0;   ///< the median
  std::vector<std::pair<int, double>> efficiency;  ///< predicted, per number of threads
};

/// Explains a result that was measured with `threads` threads.
Explanation explain(const WorkResult& result, int threads);

/// Lines of text, each indented by two.
std::string to_text(const Explanation& explanation, const WorkResult& result);

Json to_json(const Explanation& explanation);

}  // namespace rapt::tools
