#include "measure/cache_bits.hpp"

#include "core/counted.hpp"
#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "measure/isas.hpp"
#include "rapt/kv_cache.hpp"

#include <oneapi/tbb/global_control.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>
#include <string>

namespace rapt::tools {
namespace {

/// One tensor of a stream, dense: [heads, tokens, head_dim].
std::vector<float> drawn(const CacheStream& stream, std::int64_t heads, std::uint64_t seed) {
  return normal_floats(static_cast<std::size_t>(heads * stream.tokens * stream.head_dim), seed);
}

/// [1, heads, tokens, dim] as packed rows [tokens, heads, dim].
template <class T>
TensorView<T, 3> packed(const TensorView<T, 4>& view) {
  return {view.data,
          {view.shape[2], view.shape[1], view.shape[3]},
          {view.strides[2], view.strides[1], view.strides[3]}};
}

AttentionOptions options_of(const CacheStream& stream, const RopeTable& table) {
  AttentionOptions options;
  options.mask = causal().windowed(stream.window, 0);
  options.soft_cap = stream.soft_cap;
  options.rope.table = table;
  return options;
}

}  // namespace

CacheWork::CacheWork(const CacheStream& stream)
    : stream_(stream),
      table_(Rope::half, {.rotary_dims = stream.head_dim, .positions = stream.tokens}),
      q_(drawn(stream, stream.heads, 1)),
      k_(drawn(stream, stream.kv_heads, 2)),
      v_(drawn(stream, stream.kv_heads, 3)) {}

StreamBits CacheWork::no_bits() const {
  return StreamBits(
      static_cast<std::size_t>(stream_.heads * stream_.tokens * (stream_.head_dim + 1)));
}

TensorView<const float, 4> CacheWork::queries() const {
  return {q_.data(), {1, stream_.heads, stream_.tokens, stream_.head_dim}};
}

TensorView<const float, 4> CacheWork::keys() const {
  return {k_.data(), {1, stream_.kv_heads, stream_.tokens, stream_.head_dim}};
}

TensorView<const float, 4> CacheWork::values() const {
  return {v_.data(), {1, stream_.kv_heads, stream_.tokens, stream_.head_dim}};
}

TensorView<float, 4> CacheWork::out_of(StreamBits& bits) const {
  return {bits.data(), {1, stream_.heads, stream_.tokens, stream_.head_dim}};
}

TensorView<float, 3> CacheWork::lse_of(StreamBits& bits) const {
  return {bits.data() + stream_.heads * stream_.tokens * stream_.head_dim,
          {1, stream_.heads, stream_.tokens}};
}

StreamBits CacheWork::in_one_tensor(Attention& function) const {
  StreamBits bits = no_bits();
  AttentionOptions options = options_of(stream_, table_);
  options.lse = lse_of(bits);
  function(queries(), keys(), values(), out_of(bits), options);
  return bits;
}

StreamBits CacheWork::through_cache(std::int64_t chunk) const {
  KvCache cache(
      {.kv_heads = stream_.kv_heads, .head_dim = stream_.head_dim, .window = stream_.window});
  const std::int64_t sequence = cache.add();
  StreamBits bits = no_bits();
  AttentionOptions options = options_of(stream_, table_);
  options.rope.rotate_keys = false;
  std::vector<float> rotated(k_.size());
  const TensorView<float, 4> rotated_keys(rotated.data(), keys().shape);
  for (std::int64_t first = 0; first < stream_.tokens; first += chunk) {
    const std::int64_t count = std::min(chunk, stream_.tokens - first);
    const TensorView<float, 4> new_keys = rotated_keys.sliced(2, first, count);
    apply_rope(keys().sliced(2, first, count), new_keys, table_, first);
    cache.append(sequence, packed<const float>(new_keys), packed(values().sliced(2, first, count)));
    const std::int64_t rows[] = {0, count};
    options.lse = lse_of(bits).sliced(2, first, count);
    attention(packed(queries().sliced(2, first, count)), cache,
              {.sequences = {&sequence, 1}, .rows = rows},
              packed(out_of(bits).sliced(2, first, count)), options);
  }
  return bits;
}

std::vector<std::int64_t> promised_chunks(const CacheStream& stream) {
  return {1, 7, 64, 1000, stream.tokens};
}

CacheBits compare_cache_bits(const CacheStream& stream, std::span<const Isa> isas) {
  // More threads than the machine has cores, if necessary.
  const oneapi::tbb::global_control allow(oneapi::tbb::global_control::max_allowed_parallelism, 2);
  const CacheWork work(stream);
  CacheBits result{stream, {isas.begin(), isas.end()}, {}, {}};
  for (const Isa isa : isas) {
    const ForcedIsa forced(isa);
    for (const int threads : kCacheThreads) {
      oneapi::tbb::task_arena arena(threads);
      const auto check = [&](const std::string& how, const StreamBits& got) {
        if (result.bits.empty()) result.bits = got;
        if (same_bits(got, result.bits)) return;
        result.different.push_back(how + " on " + std::string(isa_name(isa)) + " with " +
                                   core::counted(threads, "thread"));
      };
      check("one tensor", arena.execute([&] { return work.in_one_tensor(); }));
      for (const std::int64_t chunk : promised_chunks(stream)) {
        check("chunks of " + std::to_string(chunk),
              arena.execute([&] { return work.through_cache(chunk); }));
      }
    }
  }
  return result;
}

}  // namespace rapt::tools
