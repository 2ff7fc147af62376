#include "measure/tuning_search.hpp"

#include "dispatch/dispatch.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/tuning.hpp"
#include "measure/isas.hpp"
#include "measure/measure.hpp"
#include "measure/tuning_trials.hpp"

#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <memory>
#include <utility>

namespace rapt::tools {
namespace {

constexpr std::size_t kMostRounds = 61, kFewestRounds = 5;
constexpr double kClearly = 0.98, kNotSlower = 1.01;

class Clock {
 public:
  double seconds() const {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
  }

 private:
  std::chrono::steady_clock::time_point begin_ = std::chrono::steady_clock::now();
};

/// A workload in memory, and its calls per sample.
struct ReadyWork {
  std::unique_ptr<Workload> work;
  std::int64_t calls;

  double sample() const {
    return seconds_per_call([&] { work->call(); }, calls);
  }
};

std::vector<ReadyWork> make_ready(const std::vector<WorkShape>& shapes, std::int64_t cache_bytes) {
  std::vector<ReadyWork> ready;
  for (const WorkShape& shape : shapes) {
    auto work = make_workload(shape, cache_bytes);
    const double first = seconds_of([&] { work->call(); });
    const double second = seconds_of([&] { work->call(); });
    // A tiny call is timed in larger samples than `rapt bench` takes, since 2 % are to be told.
    ready.push_back({std::move(work), 5 * calls_per_sample(std::min(first, second))});
    if (first > 1e-3) ready.back().calls = 1;
  }
  return ready;
}

/// Times of [value][work][round].
using Times = std::vector<std::vector<std::vector<double>>>;

/// All values in turn in each round, the first one moving on, until the time is up.
Times run_rounds(const std::vector<std::int64_t>& values, const std::vector<ReadyWork>& works,
                 double seconds, const std::function<void(std::int64_t)>& set) {
  Times times(values.size(), std::vector<std::vector<double>>(works.size()));
  const Clock clock;
  for (std::size_t round = 0; round < kMostRounds; ++round) {
    if (round > 0 &&
        clock.seconds() * static_cast<double>(round + 1) > seconds * static_cast<double>(round)) {
      break;
    }
    for (std::size_t w = 0; w < works.size(); ++w) {
      for (std::size_t i = 0; i < values.size(); ++i) {
        const std::size_t v = (i + round) % values.size();
        set(values[v]);
        times[v][w].push_back(works[w].sample());
      }
    }
  }
  return times;
}

/// Ratios of value v to value 0, by work and round.
std::vector<std::vector<double>> ratios_of(const Times& times, std::size_t v) {
  std::vector<std::vector<double>> ratios = times[v];
  for (std::size_t w = 0; w < ratios.size(); ++w) {
    for (std::size_t round = 0; round < ratios[w].size(); ++round) {
      ratios[w][round] /= times[0][w][round];
    }
  }
  return ratios;
}

/// Of all workloads in each round: the geometric mean.
std::vector<double> means_of(const std::vector<std::vector<double>>& ratios) {
  std::vector<double> means(ratios.front().size(), 1.0);
  for (const std::vector<double>& of_work : ratios) {
    for (std::size_t round = 0; round < means.size(); ++round) {
      means[round] *= std::pow(of_work[round], 1.0 / static_cast<double>(ratios.size()));
    }
  }
  return means;
}

/// The default first, then the other legal values.
std::vector<std::int64_t> values_of(std::int64_t usual, const std::vector<std::int64_t>& others,
                                    const dispatch::TuningRange& range) {
  std::vector<std::int64_t> values{usual};
  for (const std::int64_t value : others) {
    if (value != usual && range.has(value)) values.push_back(value);
  }
  return values;
}

/// A number of the tuning of one ISA or of calls.
template <class Row>
struct Number {
  std::string section;
  std::string_view name;
  const Trial<Row>& trial;
  dispatch::TuningRange range;
  int threads;
};

class Search {
 public:
  Search(const Machine& machine, const TuningOptions& options)
      : cache_bytes_(last_level_cache(machine)), options_(options) {
    left_ = options.isas.size() * kernel_trials().size() + numbers_of_calls().size();
  }

  TuningResult run() {
    dispatch::set_default_tuning();
    for (const Isa isa : options_.isas) {
      const ForcedIsa forced(isa);
      kernels::Tuning tuning = dispatch::active_kernels().tuning;
      tune(numbers_of(isa), tuning,
           [isa](const kernels::Tuning& row) { dispatch::set_tuning(isa, row); });
      result_.isas.push_back({isa, tuning});
    }
    const ForcedIsa forced(options_.isas.front());
    tune(numbers_of_calls(), result_.call,
         [](const tuning::CallTuning& row) { dispatch::set_tuning(row); });
    dispatch::set_default_tuning();
    return std::move(result_);
  }

 private:
  static std::vector<Number<kernels::Tuning>> numbers_of(Isa isa) {
    std::vector<Number<kernels::Tuning>> numbers;
    for (const auto& trial : kernel_trials()) {
      const auto field = *std::ranges::find(dispatch::kernel_fields(), trial.number,
                                            &dispatch::TuningField<kernels::Tuning>::number);
      numbers.push_back({std::string(isa_name(isa)), field.name, trial,
                         range_of(field, dispatch::tuned_kernels(isa).tiles), 1});
    }
    return numbers;
  }

  std::vector<Number<tuning::CallTuning>> numbers_of_calls() const {
    std::vector<Number<tuning::CallTuning>> numbers;
    for (const auto& trial : call_trials()) {
      if (trial.shared && options_.threads == 1) continue;
      const auto field = *std::ranges::find(dispatch::call_fields(), trial.number,
                                            &dispatch::TuningField<tuning::CallTuning>::number);
      numbers.push_back(
          {"call", field.name, trial, range_of(field), trial.shared ? options_.threads : 1});
    }
    return numbers;
  }

  double seconds_left() const { return options_.seconds - clock_.seconds(); }

  /// Tries each number of `row`, then once more what was chosen: another program may have disturbed
  /// the one moment, but hardly both. Leaves the best of `row`, set.
  template <class Row, class Set>
  void tune(const std::vector<Number<Row>>& numbers, Row& row, const Set& set) {
    const std::size_t first = result_.tried.size();
    for (const Number<Row>& number : numbers) {
      // A quarter of the time is for the second look.
      const double share = 0.75 * seconds_left() / static_cast<double>(left_--);
      const std::int64_t usual = row.*number.trial.number;
      TriedNumber tried{number.section, number.name, usual, usual, 0, {}};
      try_values(number, values_of(usual, number.trial.values, number.range), share, row, set,
                 tried);
      result_.tried.push_back(std::move(tried));
    }
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      TriedNumber& tried = result_.tried[first + i];
      if (tried.chosen == tried.usual) continue;
      TriedNumber again{tried.section, tried.name, tried.usual, tried.usual, 0, {}};
      try_values(numbers[i], {tried.usual, tried.chosen},
                 seconds_left() / static_cast<double>(left_ + numbers.size() - i), row, set, again);
      tried.chosen = again.chosen;
    }
  }

  /// Leaves the best of the values, of which the first is the default, in `row`, and set.
  template <class Row, class Set>
  void try_values(const Number<Row>& number, const std::vector<std::int64_t>& values,
                  double seconds, Row& row, const Set& set_row, TriedNumber& tried) {
    const auto set = [&](std::int64_t value) {
      row.*number.trial.number = value;
      set_row(row);
    };
    set(tried.usual);
    if (seconds <= 0.0 || values.size() == 1) return;
    oneapi::tbb::task_arena(number.threads).execute([&] {
      const Clock clock;
      const std::vector<ReadyWork> works = make_ready(number.trial.works, cache_bytes_);
      choose(values, run_rounds(values, works, seconds - clock.seconds(), set), tried);
    });
    set(tried.chosen);
  }

  static void choose(const std::vector<std::int64_t>& values, const Times& times,
                     TriedNumber& tried) {
    tried.rounds = static_cast<std::int64_t>(times[0][0].size());
    double best = 1.0;
    for (std::size_t v = 1; v < values.size(); ++v) {
      const auto ratios = ratios_of(times, v);
      const double ratio = median(means_of(ratios));
      tried.others.push_back({values[v], ratio});
      if (ratio >= best || !is_faster(ratios)) continue;
      best = ratio;
      tried.chosen = values[v];
    }
  }

  Clock clock_;
  std::int64_t cache_bytes_;
  TuningOptions options_;
  std::size_t left_ = 0;
  TuningResult result_;
};

}  // namespace

bool is_faster(const std::vector<std::vector<double>>& ratios) {
  const std::vector<double> means = means_of(ratios);
  if (means.size() < kFewestRounds || median(means) > kClearly) return false;
  const auto faster = std::ranges::count_if(means, [](double ratio) { return ratio < 1.0; });
  return 3 * static_cast<std::size_t>(faster) >= 2 * means.size() &&
         std::ranges::all_of(ratios, [](const std::vector<double>& of_work) {
           return median(of_work) <= kNotSlower;
         });
}

TuningResult search_tuning(const Machine& machine, const TuningOptions& options) {
  return Search(machine, options).run();
}

}  // namespace rapt::tools
