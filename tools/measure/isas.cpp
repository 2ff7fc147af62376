// Words that select ISAs.
#include "measure/isas.hpp"

#include "rapt/error.hpp"
#include "text/lists.hpp"
#include "text/printable.hpp"
#include "text/usage_error.hpp"

#include <fmt/format.h>

namespace rapt::tools {

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

}  // namespace rapt::tools
