// An item of attention stays inside its scratch memory, whose size it computes: even if rows come
// out NaN and are recomputed exactly, one by one, after the memory that the other rows still need.
#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "dispatch/dispatch.hpp"
#include "support/guarded_buffer.hpp"
#include "support/on_every_isa.hpp"
#include "support/test_level.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace rapt::test {
namespace {

/// Items of one head each over the same number of keys, stored as [keys, heads, dim]; values are
/// NaN at a key that the element mask hides from every second row.
struct Items {
  std::int64_t heads, rows, keys, dim;
  std::vector<float> q, k, v, out, lse, weights;
  std::vector<unsigned char> mask;

  Items(std::int64_t heads_, std::int64_t rows_, std::int64_t keys_, std::int64_t dim_,
        bool wants_weights)
      : heads(heads_), rows(rows_), keys(keys_), dim(dim_) {
    q = normal_floats(static_cast<std::size_t>(heads * rows * dim), 1);
    k = normal_floats(static_cast<std::size_t>(heads * keys * dim), 2);
    v = normal_floats(static_cast<std::size_t>(heads * keys * dim), 3);
    out.assign(q.size(), -1.0f);
    lse.assign(static_cast<std::size_t>(heads * rows), -1.0f);
    weights.assign(static_cast<std::size_t>(wants_weights ? heads * rows * keys : 0), -1.0f);
    mask.assign(static_cast<std::size_t>(rows * keys), 1);
    const std::int64_t hidden = keys / 2;
    for (std::int64_t r = 0; r < rows; r += 2)
      mask[static_cast<std::size_t>(r * keys + hidden)] = 0;
    for (std::int64_t c = 0; c < heads * dim; c += 3) {
      v[static_cast<std::size_t>(hidden * heads * dim + c)] =
          std::numeric_limits<float>::quiet_NaN();
    }
  }

  kernels::AttendCall call() {
    kernels::AttendCall call{};
    call.tuning = &dispatch::active_kernels().tuning;
    call.group = 1;
    call.head_dim = call.value_dim = dim;
    call.scale = 0.3f;
    call.q_token_stride = call.out_token_stride = dim;
    call.q_head_stride = call.out_head_stride = rows * dim;
    call.k_stride = call.v_stride = heads * dim;
    call.k_head_stride = call.v_head_stride = dim;
    call.mask = {{mask.data(), 0, 0, keys}, 1};
    call.mask_keep = 1;
    call.lse = {lse.data(), 0, rows, 1};
    if (!weights.empty()) {
      call.weights = {weights.data(), 0, rows * keys, keys};
      call.weights_keys = keys;
    }
    return call;
  }

  /// The outputs, with that many floats of scratch memory more than required.
  std::vector<float> attend(std::int64_t more) {
    const kernels::KernelSet& kernels = dispatch::active_kernels();
    const kernels::AttendCall all_heads = call();
    const kernels::SequencePlace place;
    kernels::AttendItem item{};
    item.call = &all_heads;
    item.sequence = &place;
    item.visible.kv_len = keys;
    item.q = q.data();
    item.out = out.data();
    item.k = k.data();
    item.v = v.data();
    item.rows = rows;
    item.block_end = (keys + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
    item.route = rows <= kernels.stream_rows({kernels::KeyStorage::rows, 0, dim, dim})
                     ? kernels::Route::stream
                     : kernels::Route::tile;
    item.heads = static_cast<std::int32_t>(heads);
    const std::int64_t floats = kernels.attend_scratch(item) + more;
    const GuardedBuffer<float> scratch(static_cast<std::size_t>(floats),
                                       GuardedBuffer<float>::At::end);
    std::fill(scratch.begin(), scratch.end(), std::numeric_limits<float>::quiet_NaN());
    kernels.attend(item, scratch.data());
    std::vector<float> all = out;
    all.insert(all.end(), lse.begin(), lse.end());
    all.insert(all.end(), weights.begin(), weights.end());
    return all;
  }
};

}  // namespace

TEST_CASE("an item whose rows are recomputed stays inside its scratch memory") {
  on_every_isa({1}, [] {
    for (const std::int64_t rows : {1, 3, 17, 97}) {
      for (const std::int64_t keys : {20, 300, 700}) {
        for (const std::int64_t dim : {16, 33, 64}) {
          if (quick() && keys == 700 && rows == 97) continue;
          for (const bool weights : {false, true}) {
            Items items(1, rows, keys, dim, weights);
            const std::vector<float> tight = items.attend(0);
            CHECK_MESSAGE(same_bits(tight, items.attend(1 << 16)), "rows ", rows, " keys ", keys,
                          " dim ", dim, " weights ", weights);
          }
        }
      }
    }
  });
}

TEST_CASE("multi-head items stay inside their scratch memory") {
  on_every_isa({1}, [] {
    constexpr std::int64_t kDim = 32;
    const std::int64_t rows = std::min<std::int64_t>(
        3, dispatch::active_kernels().stream_rows({kernels::KeyStorage::rows, 0, kDim, kDim}));
    if (rows == 0) return;
    for (const std::int64_t keys : {256, 300, 700}) {
      for (std::int64_t heads = 2; heads <= kernels::kItemHeads; ++heads) {
        for (const bool weights : {false, true}) {
          Items items(heads, rows, keys, kDim, weights);
          const std::vector<float> tight = items.attend(0);
          CHECK_MESSAGE(same_bits(tight, items.attend(1 << 16)), "heads ", heads, " keys ", keys);
        }
      }
    }
  });
}

}  // namespace rapt::test
