// Keys and values in pages: the layout of a page. The pages of a sequence are in its SequencePlace.
#pragma once

#include "kernels/abi/kernel_set.hpp"
#include "rapt/dtype.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt {

/// The layout of a page, in elements from its beginning; all pages have the same.
struct PageLayout {
  std::int64_t keys = 0;  ///< per page
  bool packed = false;    ///< keys in panels, see kernels::KeyStorage
  std::int64_t k_head_stride = 0, v_head_stride = 0;
  std::int64_t k_stride = 0, v_stride = 0;  ///< between tokens; k_stride is unused when packed
  std::int64_t k_begin = 0, v_begin = 0;    ///< of kv head 0
  DType k_type = DType::f32, v_type = DType::f32;  ///< the same if packed
  /// Packed pages of bytes: bytes from a head's keys and values to the scales of their rows.
  std::int64_t k_scales = 0, v_scales = 0;
};

/// Addresses of the pages of all sequences, concatenated; the vectors keep their memory across
/// calls.
struct PageAddresses {
  std::vector<const void*> k, v;
  std::vector<std::size_t> begins;  ///< of each sequence, in k and v

  void clear() {
    k.clear();
    v.clear();
    begins.clear();
  }
};

/// pages: null if K and V are tensors.
inline kernels::KeyStorage storage_of(const PageLayout* pages) {
  if (pages == nullptr) return kernels::KeyStorage::rows;
  return pages->packed ? kernels::KeyStorage::packed_pages : kernels::KeyStorage::pages_of_rows;
}

}  // namespace rapt
