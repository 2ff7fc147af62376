// Shared by the attention operators of the conformance suite: running one case on one
// implementation of attention(), and turning a case's tensors into views and options.
#pragma once

#include "conformance/check_compare.hpp"
#include "conformance/conformance_case.hpp"
#include "rapt/attention.hpp"
#include "rapt/ragged.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace rapt::conformance {

/// rapt::attention, or an equivalent function.
struct Attention {
  using Padded = void(TensorView<const void, 4>, TensorView<const void, 4>,
                      TensorView<const void, 4>, TensorView<void, 4>, const AttentionOptions&);
  using Ragged = void(TensorView<const void, 3>, TensorView<const void, 3>,
                      TensorView<const void, 3>, TensorView<void, 3>, const RaggedRows&,
                      const AttentionOptions&);

  /// `call` takes the arguments of either form, or of the padded one alone.
  template <class Call>
  Attention(const Call& call) : padded(call) {  // NOLINT(google-explicit-constructor)
    if constexpr (std::is_constructible_v<std::function<Ragged>, Call>) ragged = call;
  }

  std::function<Padded> padded;
  std::function<Ragged> ragged;
};

/// The outcome of a case on one ISA.
struct Outcome {
  std::vector<std::string> needs;  ///< options that Rapt lacks; if not empty, the case was not run
  std::vector<Comparison> comparisons;  ///< one for each output that the case expects
};

/// Runs a case of any operator. Throws rapt::Error for an inconsistent case and whatever
/// `attention` throws.
Outcome run_case(const Case& facts, const Attention& attention);

/// ONNX Attention, opsets 23 and 24.
Outcome run_onnx_attention(const Case& facts, const Attention& attention);
/// The suite's own operator AttentionX.
Outcome run_attentionx(const Case& facts, const Attention& attention);

/// ONNX RotaryEmbedding, opset 23, by apply_rope() on the active ISA.
Outcome run_rotary_embedding(const Case& facts);
/// ONNX RMSNormalization, opset 23, by rms_norm() on the active ISA.
Outcome run_rms_normalization(const Case& facts);
/// ONNX LayerNormalization, opset 17, by layer_norm() on the active ISA.
Outcome run_layer_normalization(const Case& facts);
/// ONNX Softmax, opset 13, by softmax() on the active ISA.
Outcome run_softmax(const Case& facts);

// --- parts of the operators -------------------------------------------------------------------

/// Collects the options that a case needs and Rapt lacks, in order of discovery, without
/// duplicates.
class Needs {
 public:
  void add(bool needed, const std::string& option);
  /// A tensor that attention() cannot take in its own type: "f16 storage".
  void add_storage(const CaseTensor* tensor, std::initializer_list<DType> accepted);
  /// Attributes and tensors other than these count as missing options: nothing in a case is
  /// ignored.
  void add_unknown(const Case& facts, std::initializer_list<std::string_view> attributes,
                   std::initializer_list<std::string_view> inputs,
                   std::initializer_list<std::string_view> outputs);
  std::vector<std::string> take() { return std::move(needs_); }

 private:
  std::vector<std::string> needs_;
};

/// The types of tensors that functions of the library take.
inline constexpr std::initializer_list<DType> kTensorTypes = {DType::f32, DType::bf16, DType::f16};

/// Memory of elements of such a type.
class Elements {
 public:
  Elements() = default;
  Elements(DType type, std::span<const float> values);
  /// The elements of a case's tensor in their own type.
  explicit Elements(const CaseTensor& tensor) : Elements(tensor.dtype, tensor.floats()) {}
  /// NaN, so that an element that is not written fails the comparison.
  static Elements unwritten(DType type, std::int64_t count);

  /// A dense view.
  template <std::size_t N>
  TensorView<void, static_cast<int>(N)> view(const std::array<std::int64_t, N>& shape) {
    return {bytes_.data(), type_, shape};
  }
  /// All of them, widened.
  std::vector<float> floats() const;

 private:
  DType type_ = DType::f32;
  std::vector<std::byte> bytes_;
};

/// Elements with a view of them: [batch, heads, tokens, dim] in any storage order.
struct Heads {
  Elements elements;
  TensorView<void, 4> view;
};

/// A dense tensor [batch, heads, tokens, dim], not yet written.
Heads unwritten(DType type, const TensorView<void, 4>::Index& shape);
/// The same, stored as [batch, tokens, heads, dim].
Heads unwritten_tokens_first(DType type, const TensorView<void, 4>::Index& shape);

/// The elements of a tensor as [batch, heads, tokens, dim].
///   stored: the stored shape, with the same number of elements
///   tokens_first: dimensions 1 and 2 of `stored` are tokens and heads
Heads heads_of(const CaseTensor& tensor, const TensorView<void, 4>::Index& stored,
               bool tokens_first);

/// Throws Error{malformed_file} if the rank or the shape differs.
void require_rank(const CaseTensor& tensor, std::size_t rank);
void require_shape(const CaseTensor& tensor, const Shape& shape);

/// A shape in two: before the attribute `axis`, by default the last dimension, and from it on.
struct SplitShape {
  SplitShape(const Case& facts, const Shape& shape);

  Shape before, from_axis;
};

/// An attn_mask (bool: true keeps; else added) as options of attention(), broadcast from the right.
class ElementMask {
 public:
  /// padded_keys: a shorter last dimension is padded to that many keys, which are not attended to.
  /// Unset: the tensor is used as it is.
  ElementMask(const CaseTensor& tensor, std::optional<std::int64_t> padded_keys);
  void apply_to(AttentionOptions& options);

 private:
  TensorView<void, 4>::Index shape_{};
  std::unique_ptr<bool[]> keep_;
  std::optional<Elements> bias_;
};

}  // namespace rapt::conformance
