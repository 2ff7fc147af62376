// ISAs by name, in lists, and forced for a scope.
#pragma once

#include "rapt/isa.hpp"

#include <span>
#include <string>
#include <vector>

namespace rapt::tools {

/// The ISAs that a flag's value selects: "active", "all" (every available one, best first) or a
/// name. Throws UsageError naming `flag` for an unknown name or one that cannot run here.
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

}  // namespace rapt::tools
