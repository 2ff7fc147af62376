// The promise of a cache with a model's options: decoded token by token, in chunks or whole, a
// stream has the bits of one tensor and of the scalar statement.
#include "measure/cache_bits.hpp"
#include "rapt/isa.hpp"
#include "reference/scalar.hpp"
#include "support/problems.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace rapt::test {

TEST_CASE("decoding, chunks and whole prefill through a cache have the bits of one tensor") {
  tools::CacheStream stream;  // 2048 tokens, 32/8 heads, RoPE, a window, a soft cap
  if (quick()) stream.tokens = 300;
  const tools::CacheBits result = tools::compare_cache_bits(stream, available_isas());
  for (const std::string& different : result.different) FAIL_CHECK(different);
  CHECK(same_bits(result.bits, tools::CacheWork(stream).in_one_tensor(reference::attention)));
}

}  // namespace rapt::test
