#include "conformance/check_attention.hpp"

#include "rapt/error.hpp"

#include <algorithm>
#include <cstring>
#include <limits>

namespace rapt::conformance {
namespace {

constexpr std::int64_t kMaxMaskElements = std::int64_t{1} << 28;

bool contains(std::initializer_list<std::string_view> words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

/// Pads rows of `from` keys to `to` keys with `fill`.
template <class T>
std::vector<T> padded_rows(const std::vector<T>& values, std::int64_t from, std::int64_t to,
                           std::int64_t rows, T fill) {
  std::vector<T> padded(static_cast<std::size_t>(rows * to), fill);
  for (std::int64_t row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + row * from, from, padded.begin() + row * to);
  }
  return padded;
}

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

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

Elements::Elements(DType type, std::span<const float> values)
    : type_(type), bytes_(values.size() * dtype_size(type)) {
  const auto store = [this](std::size_t i, const auto& element) {
    std::memcpy(bytes_.data() + i * sizeof(element), &element, sizeof(element));
  };
  for (std::size_t i = 0; i < values.size(); ++i) {
    if (type == DType::f16) {
      store(i, float16(values[i]));
    } else if (type == DType::bf16) {
      store(i, bfloat16(values[i]));
    } else {
      store(i, values[i]);
    }
  }
}

Elements Elements::unwritten(DType type, std::int64_t count) {
  return {type, std::vector<float>(static_cast<std::size_t>(count), kNaN)};
}

std::vector<float> Elements::floats() const {
  const auto count = static_cast<std::int64_t>(bytes_.size() / dtype_size(type_));
  return CaseTensor{"", false, type_, "", {count}, bytes_}.floats();
}

Heads unwritten(DType type, const TensorView<void, 4>::Index& shape) {
  const std::int64_t count = TensorView<float, 4>(nullptr, shape).size();
  Heads heads{Elements::unwritten(type, count), {}};
  heads.view = heads.elements.view(shape);
  return heads;
}

Heads unwritten_tokens_first(DType type, const TensorView<void, 4>::Index& shape) {
  Heads heads = unwritten(type, {shape[0], shape[2], shape[1], shape[3]});
  heads.view = heads.view.swapped(1, 2);
  return heads;
}

Heads heads_of(const CaseTensor& tensor, const TensorView<void, 4>::Index& stored,
               bool tokens_first) {
  Heads heads{Elements(tensor), {}};
  heads.view = heads.elements.view(stored);
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
    const auto keep = padded_rows<unsigned char>(tensor.bools(), keys, shape_[3], rows, 0);
    keep_ = std::make_unique<bool[]>(std::max<std::size_t>(keep.size(), 1));
    std::copy(keep.begin(), keep.end(), keep_.get());
  } else {
    const float hidden = -std::numeric_limits<float>::infinity();
    bias_.emplace(tensor.dtype, padded_rows(tensor.floats(), keys, shape_[3], rows, hidden));
  }
}

void ElementMask::apply_to(AttentionOptions& options) {
  if (keep_ != nullptr) options.bool_mask = {{keep_.get(), shape_}, MaskMeaning::keep};
  if (bias_) options.bias = bias_->view(shape_);
}

}  // namespace rapt::conformance
