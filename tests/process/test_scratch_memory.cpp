// An item of attention stays inside of its scratch memory, whose size it says itself: also where
// rows come out NaN and are computed again, each exactly, behind what the others still need.
#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "dispatch/dispatch.hpp"
#include "support/guarded_buffer.hpp"
#include "support/on_every_isa.hpp"
#include "support/test_level.hpp"

namespace rapt::test {
namespace {

using kernels::AttendArgs;

/// Items of one head each over the same number of keys, which lie as [keys, heads, dim]; values are
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

  AttendArgs args(std::int64_t head) {
    AttendArgs args{};
    args.q = q.data() + head * rows * dim;
    args.q_token_stride = dim;
    args.k = k.data() + head * dim;
    args.v = v.data() + head * dim;
    args.k_stride = args.v_stride = heads * dim;
    args.rows = rows;
    args.group = 1;
    args.block_end = (keys + kernels::kKeyBlock - 1) / kernels::kKeyBlock;
    args.head_dim = args.value_dim = dim;
    args.scale = 0.3f;
    args.kv_len = keys;
    args.visible_begin = -kernels::kUnlimited;
    args.visible_end = args.visible_limit = kernels::kUnlimited;
    args.mask = mask.data();
    args.mask_strides.query = keys;
    args.mask_strides.key = 1;
    args.mask_keep = 1;
    args.out = out.data() + head * rows * dim;
    args.out_token_stride = dim;
    args.lse = lse.data() + head * rows;
    args.lse_token_stride = 1;
    if (!weights.empty()) {
      args.weights = weights.data() + head * rows * keys;
      args.weights_token_stride = args.weights_keys = keys;
    }
    return args;
  }

  /// The outputs, with so many floats of scratch memory more than an item asks for.
  std::vector<float> attend(std::int64_t more) {
    const kernels::KernelSet& kernels = dispatch::active_kernels();
    std::vector<AttendArgs> items;
    for (std::int64_t h = 0; h < heads; ++h) items.push_back(args(h));
    const std::int64_t floats = kernels.attend_scratch(items[0], heads) + more;
    const GuardedBuffer<float> scratch(static_cast<std::size_t>(floats),
                                       GuardedBuffer<float>::At::end);
    std::fill(scratch.begin(), scratch.end(), std::numeric_limits<float>::quiet_NaN());
    for (AttendArgs& item : items) item.scratch = scratch.data();
    kernels.attend(items.data(), heads);
    std::vector<float> all = out;
    all.insert(all.end(), lse.begin(), lse.end());
    all.insert(all.end(), weights.begin(), weights.end());
    return all;
  }
};

}  // namespace

TEST_CASE("an item whose rows are computed again stays inside of its scratch memory") {
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

TEST_CASE("heads that share an item stay inside of its scratch memory") {
  on_every_isa({1}, [] {
    constexpr std::int64_t kDim = 32;
    const std::int64_t rows = std::min<std::int64_t>(
        3, dispatch::active_kernels().few_rows(kernels::KeyStorage::rows, kDim, kDim));
    if (rows == 0) return;
    for (const std::int64_t keys : {256, 300, 700}) {
      for (std::int64_t heads = 2; heads <= kernels::kHeadsTogether; ++heads) {
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
