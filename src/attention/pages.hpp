// Keys and values in pages, as the drivers know them: how a page is laid out. Which pages a
// sequence has stands in its SequencePlace.
#pragma once

#include "kernels/abi/kernel_set.hpp"

#include <cstddef>
#include <cstdint>
#include <vector>

namespace rapt {

/// How keys and values lie in a page, in floats from its beginning; the same for all pages.
struct PageLayout {
  std::int64_t keys = 0;  ///< per page
  bool packed = false;    ///< keys in panels, see kernels::KeyStorage
  std::int64_t k_head_stride = 0, v_head_stride = 0;
  std::int64_t k_stride = 0, v_stride = 0;  ///< from token to token; no k_stride when packed
  std::int64_t k_begin = 0, v_begin = 0;    ///< of kv head 0
};

/// Addresses of pages, sequence after sequence; the vectors keep their memory from call to call.
struct PageAddresses {
  std::vector<const float*> k, v;
  std::vector<std::size_t> begins;  ///< of each sequence, in k and v

  void clear() {
    k.clear();
    v.clear();
    begins.clear();
  }
};

/// pages: null where K and V are tensors.
inline kernels::KeyStorage storage_of(const PageLayout* pages) {
  if (pages == nullptr) return kernels::KeyStorage::rows;
  return pages->packed ? kernels::KeyStorage::packed_pages : kernels::KeyStorage::pages_of_rows;
}

}  // namespace rapt
