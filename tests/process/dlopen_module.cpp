// The module that test_dlopen loads: a user of the shared library with one function.
#include "rapt/rapt.hpp"

#include <array>

/// Mean of the values 0, 1, ..., 299 by attention over equal keys, in parallel.
extern "C" float mean_by_attention();

extern "C" __attribute__((visibility("default"))) float mean_by_attention() {
  static constexpr int kKeys = 300, kQueries = 64;
  std::array<float, kQueries * 32> q{}, out{};
  std::array<float, kKeys * 32> k{}, v{};
  for (int i = 0; i < kKeys * 32; ++i) {
    v[static_cast<unsigned>(i)] = static_cast<float>(i / 32);
  }
  rapt::attention({q.data(), {1, 1, kQueries, 32}}, {k.data(), {1, 1, kKeys, 32}},
                  {v.data(), {1, 1, kKeys, 32}}, {out.data(), {1, 1, kQueries, 32}});
  return out[0];
}
