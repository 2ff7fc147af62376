// Token ids to vectors: each id selects a row of the table, which is copied.
#include "core/counted.hpp"
#include "core/out_of_memory.hpp"
#include "core/views.hpp"
#include "rapt/multi_head_attention.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace rapt {

void embedding_lookup(TensorView<const float, 2> table, std::span<const std::int64_t> ids,
                      TensorView<float, 2> y) try {
  const core::MemoryRange read = core::check_input("table", table);
  const core::MemoryRange written = core::check_output("y", y);
  const auto tokens = static_cast<std::int64_t>(ids.size());
  const std::int64_t vocabulary = table.shape[0];
  const std::int64_t features = table.shape[1];
  core::check_extent("y: tokens", y.shape[0], "the number of ids", tokens);
  core::check_extent("y: features", y.shape[1], "the table's", features);
  for (std::size_t i = 0; i < ids.size(); ++i) {
    if (ids[i] < 0 || ids[i] >= vocabulary) {
      core::fail("ids[" + std::to_string(i) + "]: " + std::to_string(ids[i]) +
                 " is outside the table's " + core::counted(vocabulary, "row"));
    }
  }
  core::check_disjoint("y", written, "table", read);
  core::check_disjoint("y", written, "ids", ids);

  if (features == 0) return;
  for (std::int64_t i = 0; i < tokens; ++i) {
    const std::int64_t id = ids[static_cast<std::size_t>(i)];
    std::copy_n(table.data + id * table.strides[0], features, y.data + i * y.strides[0]);
  }
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
