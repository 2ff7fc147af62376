#include "cache/cache_store.hpp"

#include "core/sizes.hpp"
#include "core/views.hpp"
#include "dispatch/element_type.hpp"
#include "rapt/error.hpp"

#include <array>
#include <mutex>
#include <string>
#include <utility>

namespace rapt {
namespace {

using core::fail;
using kernels::kPanel;

void check_positive(const char* field, std::int64_t value) {
  if (value >= 1) return;
  fail(std::string("config.") + field + ": " + std::to_string(value) + " is below 1");
}

KvCacheConfig with_defaults(KvCacheConfig config) {
  check_positive("kv_heads", config.kv_heads);
  check_positive("head_dim", config.head_dim);
  if (config.value_dim == 0) config.value_dim = config.head_dim;
  check_positive("value_dim", config.value_dim);
  const std::int64_t tokens = config.page_tokens;
  const bool power_of_two = tokens > 0 && (tokens & (tokens - 1)) == 0;
  if (!power_of_two || tokens < kPanel || tokens > kernels::kKeyBlock) {
    fail("config.page_tokens: " + std::to_string(tokens) + " is not 32, 64, 128 or 256");
  }
  if (!core::is_tensor_type(config.dtype) && config.dtype != DType::i8) {
    fail("config.dtype: " + std::string(dtype_name(config.dtype)) +
         " is none of f32, bf16, f16 and i8");
  }
  if (config.max_pages < 0) {
    fail("config.max_pages: " + std::to_string(config.max_pages) + " is below 0");
  }
  if (config.window < kNoWindow) {
    fail("config.window: " + std::to_string(config.window) +
         " is neither a number of keys nor kNoWindow");
  }
  return config;
}

std::int64_t padded(std::int64_t value_dim) { return (value_dim + kPanel - 1) / kPanel * kPanel; }

PageLayout layout_of(const KvCacheConfig& config) {
  constexpr std::int64_t kMax = std::int64_t{1} << 40;
  const auto too_large = [&config] {
    fail("config: pages of " + std::to_string(config.page_tokens) + " tokens x kv_heads " +
         std::to_string(config.kv_heads) + " x (head_dim " + std::to_string(config.head_dim) +
         " + value_dim " + std::to_string(config.value_dim) + ") are too large");
  };
  if (config.head_dim > kMax || config.value_dim > kMax) too_large();
  const std::int64_t width = config.head_dim + padded(config.value_dim);
  const std::array factors{config.kv_heads, config.page_tokens, width};
  if (const auto floats = checked_product(factors); !floats || *floats > kMax) too_large();
  const std::int64_t keys = config.page_tokens * config.head_dim;
  const std::int64_t values = config.page_tokens * padded(config.value_dim);
  const std::int64_t scales =
      config.dtype == DType::i8 ? config.page_tokens * std::int64_t{sizeof(float)} : 0;
  const std::int64_t head = keys + values + 2 * scales;
  return {.keys = config.page_tokens,
          .packed = true,
          .k_head_stride = head,
          .v_head_stride = head,
          .k_stride = 0,
          .v_stride = kPanel,
          .k_begin = 0,
          .v_begin = keys,
          .k_type = config.dtype,
          .v_type = config.dtype,
          .k_scales = keys + values,
          .v_scales = values + scales};
}

/// Floats of a page, in whole cache lines.
std::int64_t page_floats_of(const KvCacheConfig& config, const PageLayout& layout) {
  constexpr std::int64_t kLine = 64;
  const std::int64_t bytes =
      config.kv_heads * layout.k_head_stride * static_cast<std::int64_t>(dtype_size(config.dtype));
  return (bytes + kLine - 1) / kLine * (kLine / static_cast<std::int64_t>(sizeof(float)));
}

}  // namespace

CacheStore::CacheStore(const KvCacheConfig& config_)
    : config(with_defaults(config_)),
      layout(layout_of(config)),
      page_floats(page_floats_of(config, layout)),
      pool(page_floats, config.max_pages) {}

CachedSequence& CacheStore::find(std::int64_t sequence) const {
  const std::shared_lock lock(mutex_);
  const auto found = sequences_.find(sequence);
  if (found == sequences_.end()) {
    fail("sequence: " + std::to_string(sequence) + " is not in the cache");
  }
  return *found->second;
}

std::int64_t CacheStore::insert(std::unique_ptr<CachedSequence> sequence) {
  const std::unique_lock lock(mutex_);
  sequences_.emplace(next_, std::move(sequence));
  return next_++;
}

void CacheStore::erase(std::int64_t sequence) {
  const std::unique_lock lock(mutex_);
  sequences_.erase(sequence);
}

void CacheStore::clear() {
  const std::unique_lock lock(mutex_);
  for (const auto& [number, sequence] : sequences_) {
    pool.release(
        std::span(sequence->pages).subspan(static_cast<std::size_t>(sequence->first_page)));
  }
  sequences_.clear();
}

std::int64_t CacheStore::count() const {
  const std::shared_lock lock(mutex_);
  return static_cast<std::int64_t>(sequences_.size());
}

void fail_for_tables() {
  throw Error(ErrorCode::out_of_memory,
              SentenceLiteral("cache: no memory for the tables of its sequences"));
}

void write_page(const kernels::KernelSet& kernels, const PageLayout& layout,
                TensorView<const void, 3> k, TensorView<const void, 3> v, std::int64_t token,
                std::int64_t row, std::int64_t n, float* page) {
  const kernels::ElementType type = element_type(layout.k_type);
  const auto size = static_cast<std::int64_t>(dtype_size(layout.k_type));
  for (std::int64_t h = 0; h < k.shape[1]; ++h) {
    char* const keys =
        reinterpret_cast<char*>(page) + (layout.k_begin + h * layout.k_head_stride) * size;
    char* const values =
        reinterpret_cast<char*>(page) + (layout.v_begin + h * layout.v_head_stride) * size;
    kernels.pack_keys({.k = k.at(token * k.strides[0] + h * k.strides[1]),
                       .k_type = element_type(k.dtype),
                       .k_stride = k.strides[0],
                       .first = row,
                       .keys = n,
                       .head_dim = k.shape[2],
                       .panels = keys,
                       .type = type,
                       .scales = reinterpret_cast<float*>(keys + layout.k_scales)});
    kernels.pack_values({.v = v.at(token * v.strides[0] + h * v.strides[1]),
                         .v_type = element_type(v.dtype),
                         .v_stride = v.strides[0],
                         .values = n,
                         .value_dim = v.shape[2],
                         .panels = values + row * layout.v_stride * size,
                         .panel_stride = layout.keys * layout.v_stride,
                         .type = type,
                         .scales = reinterpret_cast<float*>(values + layout.v_scales) + row});
  }
}

}  // namespace rapt
