// A separate project that uses an installed Rapt: one query over two keys, and the ISA that it ran
// on.
#include "rapt/rapt.hpp"

#include <cmath>
#include <cstdio>

int main() {
  const float query[] = {1.0f, 0.0f};
  const float keys[] = {1.0f, 0.0f, 0.0f, 1.0f};
  const float values[] = {4.0f, 8.0f};
  float out[] = {0.0f};
  try {
    rapt::attention({query, {1, 1, 1, 2}}, {keys, {1, 1, 2, 2}}, {values, {1, 1, 2, 1}},
                    {out, {1, 1, 1, 1}}, {.softmax_scale = 1.0f});
    // A message of the library must be caught as its own type across the library's border.
    rapt::parse_isa("none");
  } catch (const rapt::Error& error) {
    std::printf("rapt %s on %s: %.6f (%s)\n", rapt::version(),
                rapt::isa_name(rapt::active_isa()).data(), static_cast<double>(out[0]),
                error.what());
  }
  // The first key scores 1, the second 0: their weights are e / (e + 1) and 1 / (e + 1).
  const double expected = (4.0 * std::exp(1.0) + 8.0) / (std::exp(1.0) + 1.0);
  return std::abs(static_cast<double>(out[0]) - expected) < 1e-5 ? 0 : 1;
}
