#include "support/random_tuning.hpp"

#include "core/random.hpp"
#include "dispatch/isa_table.hpp"
#include "dispatch/tuning.hpp"
#include "dispatch/tuning_fields.hpp"

#include <algorithm>

namespace rapt::test {
namespace {

using dispatch::TuningRange;

std::int64_t draw(TuningRange range, std::int64_t usual, Random& random) {
  const std::int64_t least = (range.least + range.unit - 1) / range.unit;
  const std::int64_t most = range.most / range.unit;
  switch (random.below(5)) {
    case 0:
      return usual;
    case 1:
      return least * range.unit;
    case 2:
      return most * range.unit;
    case 3:
      return (least + random.below(std::min<std::int64_t>(most - least, 300) + 1)) * range.unit;
    default:
      return (least + random.below(most - least + 1)) * range.unit;
  }
}

}  // namespace

RandomTuning::RandomTuning(std::uint64_t seed) {
  Random random(seed);
  dispatch::set_default_tuning();
  for (const dispatch::IsaRow& row : dispatch::isa_table()) {
    kernels::Tuning tuning = row.kernels->tuning;
    for (const auto& field : dispatch::kernel_fields()) {
      std::int64_t& number = tuning.*field.number;
      number = draw(range_of(field, row.kernels->tiles), number, random);
    }
    dispatch::set_tuning(row.isa, tuning);
  }
  tuning::CallTuning call;
  for (const auto& field : dispatch::call_fields()) {
    call.*field.number = draw(range_of(field), call.*field.number, random);
  }
  dispatch::set_tuning(call);
}

RandomTuning::~RandomTuning() { dispatch::reset_tuning(); }

}  // namespace rapt::test
