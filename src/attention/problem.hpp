// The normal form of a call of attention(). Every door (tensors, packed rows, the caller's pages, a
// cache) says where its keys are as a KeySource; validate() is the one gate behind them.
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

namespace rapt {

struct AttentionTensors {
  TensorView<const float, 4> q, k, v;
  TensorView<float, 4> out;
  const PageLayout* pages = nullptr;  ///< k and v are in pages; of the views only the shapes count
};

/// [rows, heads, dim] as [1, heads, rows, dim]: packed rows are a batch of one.
template <class T>
TensorView<T, 4> as_batch(const TensorView<T, 3>& view) {
  return {view.data,
          {1, view.shape[1], view.shape[0], view.shape[2]},
          {0, view.strides[1], view.strides[0], view.strides[2]}};
}

/// A call. Its door gives q, out and the options; the rest is set by its KeySource and validate().
struct AttentionProblem {
  AttentionTensors tensors;
  const AttentionOptions& options;
  Sequences& sequences;
  PageAddresses& addresses;  ///< for the pages of a source that has no tables of addresses

  std::int64_t count = 0;      ///< of sequences, those without results too
  std::int64_t most_keys = 0;  ///< of a sequence: the columns of its scores
  bool at_end = false;         ///< queries are the last tokens of their sequence, whatever the mask
  core::MemoryRange out{};
  std::array<NamedMemory, 6> inputs{};  ///< what the source reads
  std::size_t input_count = 0;

  void add_input(const char* name, const core::MemoryRange& range) {
    inputs[input_count++] = {name, range};
  }
};

/// Whether the call has an element to write.
inline bool has_results(const AttentionProblem& problem) {
  const auto& [batch, heads, rows, width] = problem.tensors.q.shape;
  const TensorView<float, 3>& sums = problem.options.weight_sums;
  return (batch > 0 && heads > 0 && rows > 0) || (sums.data != nullptr && core::has_elements(sums));
}

/// Where the keys and values of a call are.
class KeySource {
 public:
  /// Checks the door's own arguments by themselves and against q and out. Sets tensors.k and v, in
  /// pages their shapes and `pages`; adds the sequences with their lengths; names what it reads.
  virtual void check(AttentionProblem& problem) const = 0;
  /// Once it is known which keys are seen: finds their pages, or throws where they are not there.
  virtual void find_keys(AttentionProblem&) const {}

 protected:
  KeySource() = default;
  KeySource(const KeySource&) = default;
  KeySource& operator=(const KeySource&) = default;
  ~KeySource() = default;
};

// For sources: K and V as tensors, checked with q and out; or in pages of these sizes, which are
// `owner`'s ("the cache's").
void set_keys(const TensorView<const float, 4>& k, const TensorView<const float, 4>& v,
              AttentionProblem& problem);
void set_pages(const PageLayout& pages, const char* owner, const HeadSizes& sizes,
               AttentionProblem& problem);

/// Checks everything; what comes after it throws no Error{invalid_argument}.
void validate(AttentionProblem& problem, const KeySource& source);

/// A whole call: validates it, plans it and runs it.
void attend(const TensorView<const float, 4>& q, const TensorView<float, 4>& out,
            const AttentionOptions& options, const KeySource& source);

}  // namespace rapt
