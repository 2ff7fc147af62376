// Checks of the range mask: valid values, and combinations of fields.
#include "attention/validate.hpp"
#include "core/views.hpp"

#include <string>

namespace rapt {
namespace {

using core::check_extent;
using core::fail;

void check_window(const char* side, std::int64_t keys) {
  if (keys >= kNoWindow) return;
  fail(std::string("mask: ") + side + " " + std::to_string(keys) +
       " is neither a number of keys nor kNoWindow");
}

void check_prefix(const Mask& mask, std::int64_t sequences) {
  if (mask.prefix_len == 0 && mask.prefix_lens.empty()) return;
  const std::string len = std::to_string(mask.prefix_len);
  const std::string given = mask.prefix_lens.empty() ? "prefix_len " + len : "prefix_lens";
  if (mask.kind != Mask::Kind::causal) fail("mask: " + given + " means nothing without causal");
  if (mask.window_right == 0) {
    fail("mask: " + given + " cannot be combined with window_right 0, which hides all that it " +
         "shows; leave it at kNoWindow, causal hides the later keys outside the prefix");
  }
  if (mask.prefix_len < 0) fail("mask: prefix_len " + len + " is negative");
  if (mask.prefix_lens.empty()) return;
  if (mask.prefix_len > 0) fail("mask: prefix_len " + len + " cannot be given beside prefix_lens");
  check_extent("mask.prefix_lens: lengths", std::ssize(mask.prefix_lens), "the batch's sequences",
               sequences);
  for (const std::int64_t own : mask.prefix_lens) {
    if (own < 0) fail("mask: length " + std::to_string(own) + " of prefix_lens is negative");
  }
}

}  // namespace

void validate_mask(const Mask& mask, std::int64_t sequences) {
  if (mask.kind != Mask::Kind::none && mask.kind != Mask::Kind::causal) {
    fail("mask: kind " + std::to_string(static_cast<int>(mask.kind)) +
         " is neither none nor causal");
  }
  if (mask.align != Mask::Align::offset && mask.align != Mask::Align::bottom_right) {
    fail("mask: align " + std::to_string(static_cast<int>(mask.align)) +
         " is neither offset nor bottom_right");
  }
  check_window("window_left", mask.window_left);
  check_window("window_right", mask.window_right);
  check_prefix(mask, sequences);
  if (mask.query_offsets.empty()) return;
  if (mask.align == Mask::Align::bottom_right) {
    fail("mask: query_offsets cannot be combined with bottom_right, which sets every offset");
  }
  check_extent("mask.query_offsets: offsets", std::ssize(mask.query_offsets),
               "the batch's sequences", sequences);
}

}  // namespace rapt
