// The promise of a cache on one stream of tokens: decoded one by one, in chunks or whole, on one or
// two threads, it has the bits of attention over one tensor.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/isa.hpp"
#include "rapt/rope.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace rapt::tools {

/// A stream with the options of typical models: grouped heads, RoPE, a sliding window and a soft
/// cap.
struct CacheStream {
  std::int64_t tokens = 2048;
  std::int64_t heads = 32, kv_heads = 8;
  std::int64_t head_dim = 16;
  std::int64_t window = 63;  ///< keys to the left of a token; the cache frees earlier ones
  float soft_cap = 20.0f;
};

/// out [heads, tokens, head_dim], then lse [heads, tokens].
using StreamBits = std::vector<float>;

/// The queries, keys and values of a stream, from a fixed seed.
class CacheWork {
 public:
  explicit CacheWork(const CacheStream& stream);

  using Attention = void(TensorView<const void, 4> q, TensorView<const void, 4> k,
                         TensorView<const void, 4> v, TensorView<void, 4> out,
                         const AttentionOptions& options);

  /// All tokens in one call of attention() or of the scalar statement, with keys and values in
  /// tensors; queries and keys are rotated inside the call.
  StreamBits in_one_tensor(Attention& function = attention) const;

  /// The tokens in chunks: the keys of each are rotated and appended to a KvCache, then its queries
  /// attend.
  StreamBits through_cache(std::int64_t chunk) const;

 private:
  StreamBits no_bits() const;
  TensorView<const float, 4> queries() const;
  TensorView<const float, 4> keys() const;
  TensorView<const float, 4> values() const;
  TensorView<float, 4> out_of(StreamBits& bits) const;
  TensorView<float, 3> lse_of(StreamBits& bits) const;

  CacheStream stream_;
  RopeTable table_;
  std::vector<float> q_, k_, v_;
};

/// The chunk sizes that are tested: 1, 7, 64, 1000 and all tokens.
std::vector<std::int64_t> promised_chunks(const CacheStream& stream);

/// The arena sizes that are tested.
inline constexpr int kCacheThreads[] = {1, 2};

/// The results on each ISA with each number of threads.
struct CacheBits {
  CacheStream stream;
  std::vector<Isa> isas;
  std::vector<std::string> different;  ///< "chunks of 7 on avx2 with 2 threads"; empty: all equal
  StreamBits bits;                     ///< of one tensor on the first ISA
};

CacheBits compare_cache_bits(const CacheStream& stream, std::span<const Isa> isas);

}  // namespace rapt::tools
