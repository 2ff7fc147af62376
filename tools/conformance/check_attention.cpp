#include "conformance/check_attention.hpp"

#include "rapt/error.hpp"

#include <algorithm>
#include <limits>

namespace rapt::conformance {
namespace {

constexpr std::int64_t kMaxMaskElements = std::int64_t{1} << 28;

bool contains(std::initializer_list<std::string_view> words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Pads rows of `from` keys to `to` keys with `fill`.
template <class T, class U>
std::unique_ptr<T[]> padded_rows(const std::vector<U>& values, std::int64_t from, std::int64_t to,
                                 std::int64_t rows, T fill) {
  const auto count = static_cast<std::size_t>(rows * to);
  auto padded = std::make_unique<T[]>(std::max<std::size_t>(count, 1));
  std::fill_n(padded.get(), count, fill);
  for (std::int64_t row = 0; row < rows; ++row) {
    for (std::int64_t key = 0; key < from; ++key) {
      padded[static_cast<std::size_t>(row * to + key)] =
          static_cast<T>(values[static_cast<std::size_t>(row * from + key)]);
    }
  }
  return padded;
}

}  // namespace

Outcome run_case(const Case& facts, const Attention& attention) {
  if (facts.op == "Attention") return run_onnx_attention(facts, attention);
  if (facts.op == "AttentionX") return run_attentionx(facts, attention);
  if (facts.op == "RotaryEmbedding") return run_rotary_embedding(facts);
  if (facts.op == "RMSNormalization") return run_rms_normalization(facts);
  if (facts.op == "LayerNormalization") return run_layer_normalization(facts);
  if (facts.op == "Softmax") return run_softmax(facts);
  return {.needs = {"operator " + facts.op}, .comparisons = {}};
}

void Needs::add(bool needed, const std::string& option) {
  if (needed && std::find(needs_.begin(), needs_.end(), option) == needs_.end()) {
    needs_.push_back(option);
  }
}

void Needs::add_storage(const CaseTensor* tensor, std::initializer_list<DType> accepted) {
  if (tensor == nullptr) return;
  const bool taken = std::find(accepted.begin(), accepted.end(), tensor->dtype) != accepted.end();
  add(!taken, tensor->dtype_word + " storage");
}

void Needs::add_unknown(const Case& facts, std::initializer_list<std::string_view> attributes,
                        std::initializer_list<std::string_view> inputs,
                        std::initializer_list<std::string_view> outputs) {
  for (const auto& [name, value] : facts.attributes) {
    add(!contains(attributes, name), "attribute " + name);
  }
  for (const CaseTensor& tensor : facts.tensors) {
    const bool known = contains(tensor.is_output ? outputs : inputs, tensor.role);
    add(!known, (tensor.is_output ? "output " : "input ") + tensor.role);
  }
}

Heads unwritten(const TensorView<float, 4>::Index& shape) {
  const std::int64_t count = TensorView<float, 4>(nullptr, shape).size();
  Heads heads;
  heads.values.assign(static_cast<std::size_t>(count), std::numeric_limits<float>::quiet_NaN());
  heads.view = {heads.values.data(), shape};
  return heads;
}

Heads unwritten_tokens_first(const TensorView<float, 4>::Index& shape) {
  Heads heads = unwritten({shape[0], shape[2], shape[1], shape[3]});
  heads.view = heads.view.swapped(1, 2);
  return heads;
}

Heads heads_of(const CaseTensor& tensor, const TensorView<float, 4>::Index& stored,
               bool tokens_first) {
  Heads heads;
  heads.values = tensor.floats();
  heads.view = {heads.values.data(), stored};
  if (tokens_first) heads.view = heads.view.swapped(1, 2);
  return heads;
}

void require_rank(const CaseTensor& tensor, std::size_t rank) {
  if (tensor.shape.size() != rank) {
    throw Error(ErrorCode::malformed_file, "tensor '" + tensor.role + "' has shape " +
                                               to_text(tensor.shape) + ", which is not of rank " +
                                               std::to_string(rank));
  }
}

void require_shape(const CaseTensor& tensor, const Shape& shape) {
  if (tensor.shape != shape) {
    throw Error(ErrorCode::malformed_file, "tensor '" + tensor.role + "' has shape " +
                                               to_text(tensor.shape) + ", the other tensors give " +
                                               to_text(shape));
  }
}

SplitShape::SplitShape(const Case& facts, const Shape& shape) {
  const auto rank = static_cast<std::int64_t>(shape.size());
  const std::int64_t axis = facts.integer("axis", -1);
  if (axis < -rank || axis >= rank) {
    throw Error(ErrorCode::malformed_file,
                "axis " + std::to_string(axis) + " is outside the shape " + to_text(shape));
  }
  const auto middle = shape.begin() + (axis < 0 ? axis + rank : axis);
  before.assign(shape.begin(), middle);
  from_axis.assign(middle, shape.end());
}

ElementMask::ElementMask(const CaseTensor& tensor, std::optional<std::int64_t> padded_keys) {
  if (tensor.shape.empty() || tensor.shape.size() > 4) {
    throw Error(ErrorCode::malformed_file, "tensor '" + tensor.role + "' has shape " +
                                               to_text(tensor.shape) +
                                               ", a mask has 1 to 4 dimensions");
  }
  shape_.fill(1);
  std::copy_backward(tensor.shape.begin(), tensor.shape.end(), shape_.end());
  const std::int64_t keys = shape_[3];
  shape_[3] = std::max(keys, padded_keys.value_or(keys));
  const std::int64_t rows = shape_[0] * shape_[1] * shape_[2];
  if (rows > 0 && shape_[3] > kMaxMaskElements / rows) {
    throw Error(ErrorCode::malformed_file, "tensor '" + tensor.role + "' padded to " +
                                               std::to_string(shape_[3]) + " keys is too large");
  }
  if (tensor.dtype == DType::boolean) {
    keep_ = padded_rows<bool>(tensor.bools(), keys, shape_[3], rows, false);
  } else {
    const float hidden = -std::numeric_limits<float>::infinity();
    bias_ = padded_rows<float>(tensor.floats(), keys, shape_[3], rows, hidden);
  }
}

void ElementMask::apply_to(AttentionOptions& options) const {
  if (keep_ != nullptr) options.bool_mask = {{keep_.get(), shape_}, MaskMeaning::keep};
  if (bias_ != nullptr) options.bias = {bias_.get(), shape_};
}

}  // namespace rapt::conformance
