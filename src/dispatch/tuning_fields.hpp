// The numbers of a tuning by name, with the values that each may have: for the file, the command
// and tests.
#pragma once

#include "core/tuning.hpp"
#include "kernels/abi/kernel_set.hpp"

#include <cstdint>
#include <span>
#include <string_view>

namespace rapt::dispatch {

/// A number of a struct `Row`: kernels::Tuning, or tuning::CallTuning.
template <class Row>
struct TuningField {
  std::string_view name;
  std::int64_t Row::*number;
};

/// Legal values: multiples of `unit` from `least` to `most`.
struct TuningRange {
  std::int64_t least, most, unit = 1;

  constexpr bool has(std::int64_t value) const {
    return value >= least && value <= most && value % unit == 0;
  }
};

std::span<const TuningField<kernels::Tuning>> kernel_fields() noexcept;
std::span<const TuningField<tuning::CallTuning>> call_fields() noexcept;

/// The legal values for these kernels, whose tiles limit some.
TuningRange range_of(const TuningField<kernels::Tuning>& field, const kernels::Tiles& tiles);
TuningRange range_of(const TuningField<tuning::CallTuning>& field);

}  // namespace rapt::dispatch
