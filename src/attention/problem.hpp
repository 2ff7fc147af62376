// The normal form of a call of attention(). Each entry point (tensors, packed rows, the caller's
// pages, a cache) describes its keys as a KeySource; validate() then makes all checks.
#pragma once

#include "attention/pages.hpp"
#include "attention/sequences.hpp"
#include "attention/validate.hpp"
#include "core/views.hpp"
#include "rapt/attention.hpp"
#include "rapt/tensor.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>

namespace rapt {

struct AttentionTensors {
  TensorView<const void, 4> q, k, v;
  TensorView<void, 4> out;
  /// If set, k and v are in pages: only their shapes and types are used.
  const PageLayout* pages = nullptr;
};

/// [rows, heads, dim] as [1, heads, rows, dim]: packed rows are a batch of one.
template <class Void>
requires std::is_void_v<Void> TensorView<Void, 4> as_batch(const TensorView<Void, 3>& view) {
  return {view.data,
          view.dtype,
          {1, view.shape[1], view.shape[0], view.shape[2]},
          {0, view.strides[1], view.strides[0], view.strides[2]}};
}

/// A call. The entry point sets q, out and the options; the KeySource and validate() set the rest.
struct AttentionProblem {
  AttentionTensors tensors;
  const AttentionOptions& options;
  Sequences& sequences;
  PageAddresses& addresses;  ///< of pages, for a source without address tables of its own

  std::int64_t count = 0;     ///< of sequences, including those without results
  std::int64_t max_keys = 0;  ///< of any sequence: the columns of its scores
  bool at_end = false;  ///< queries are the last tokens of their sequence; the align is ignored
  core::MemoryRange out{};
  std::array<NamedMemory, 6> inputs{};  ///< the memory that the source reads
  std::size_t input_count = 0;

  void add_input(const char* name, const core::MemoryRange& range) {
    inputs[input_count++] = {name, range};
  }
};

/// Whether the call writes any element.
inline bool has_results(const AttentionProblem& problem) {
  const auto& [batch, heads, rows, width] = problem.tensors.q.shape;
  const TensorView<float, 3>& sums = problem.options.weight_sums;
  return (batch > 0 && heads > 0 && rows > 0) || (sums.data != nullptr && core::has_elements(sums));
}

/// Where the keys and values of a call are.
class KeySource {
 public:
  /// Checks the entry point's own arguments, alone and against q and out. Sets tensors.k and v (of
  /// pages the shapes, and `pages`), adds the sequences with their lengths and lists the memory it
  /// reads.
  virtual void check(AttentionProblem& problem) const = 0;
  /// Called when the visible keys are known: finds their pages, or throws if one is missing.
  virtual void find_keys(AttentionProblem&) const {}

 protected:
  KeySource() = default;
  KeySource(const KeySource&) = default;
  KeySource& operator=(const KeySource&) = default;
  ~KeySource() = default;
};

// For sources: K and V as tensors, checked with q and out; or in pages of these sizes, where
// `owner` ("the cache's") names the pages in error sentences.
void set_keys(const TensorView<const void, 4>& k, const TensorView<const void, 4>& v,
              AttentionProblem& problem);
void set_pages(const PageLayout& pages, const char* owner, const HeadSizes& sizes,
               AttentionProblem& problem);

/// Checks everything; later steps throw no Error{invalid_argument}.
void validate(AttentionProblem& problem, const KeySource& source);

/// A whole call: validate, plan, run.
void attend(const TensorView<const void, 4>& q, const TensorView<void, 4>& out,
            const AttentionOptions& options, const KeySource& source);

}  // namespace rapt
