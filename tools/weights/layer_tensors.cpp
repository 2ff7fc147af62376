// Converts floats, and int8 with a known scale.
#include "weights/layer_tensors.hpp"

#include "rapt/error.hpp"
#include "text/lists.hpp"
#include "text/printable.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace rapt::tools {
namespace {

[[noreturn]] void refuse(const std::string& name, const std::string& why) {
  throw Error(ErrorCode::invalid_argument, printable(name) + ": " + why);
}

/// "model.layers.0.q_proj" of "model.layers.0.q_proj.weight".
std::string stem_of(const std::string& weight) {
  constexpr std::string_view kEnd = ".weight";
  return weight.ends_with(kEnd) ? weight.substr(0, weight.size() - kEnd.size()) : weight;
}

bool is_zero(const FileTensor& tensor) {
  return std::all_of(tensor.data, tensor.data + tensor.nbytes,
                     [](std::byte byte) { return byte == std::byte{0}; });
}

}  // namespace

std::vector<float> LayerTensors::floats(const std::string& name) {
  std::vector<float> values = file_.at(name).copy_as_float();
  read_.insert(name);
  return values;
}

/// The scales of an int8 weight: one, or one per stored row; empty if unknown.
std::vector<float> LayerTensors::scales_of(const FileTensor& tensor) {
  const std::string scb = stem_of(tensor.name) + ".SCB";
  const std::string format = stem_of(tensor.name) + ".weight_format";
  const std::string scale = tensor.name + "_scale";
  const std::int64_t rows = tensor.shape.front();
  if (find(scb) != nullptr && find(scale) == nullptr) {
    if (find(scb)->shape != std::vector<std::int64_t>{rows}) return {};
    // 0: row by row. Other codes are layouts of certain GPUs.
    if (const FileTensor* const layout = find(format); layout != nullptr) {
      if (!is_zero(*layout)) return {};
      read_.insert(format);
    }
    std::vector<float> scales = floats(scb);
    for (float& one : scales) one /= 127.0f;
    return scales;
  }
  if (find(scale) == nullptr || find(scb) != nullptr ||
      find(tensor.name + "_zero_point") != nullptr) {
    return {};
  }
  const std::vector<std::int64_t>& shape = find(scale)->shape;
  const bool one = shape.empty() || shape == std::vector<std::int64_t>{1};
  const bool by_row =
      shape == std::vector<std::int64_t>{rows} || shape == std::vector<std::int64_t>{rows, 1};
  return one || by_row ? floats(scale) : std::vector<float>();
}

void LayerTensors::read_weight(const FileTensor& tensor, Projection& projection) {
  switch (tensor.dtype) {
    case DType::f32:
    case DType::f16:
    case DType::bf16:
      if (reinterpret_cast<std::uintptr_t>(tensor.data) % dtype_size(tensor.dtype) == 0) {
        projection.in_place = tensor.typed_view<2>();
        return;
      }
      [[fallthrough]];
    case DType::f64:
      projection.copy = tensor.copy_as_float();
      return;
    default:
      break;
  }
  // LLM.int8() and similar formats have a scale per output, which is a column of a transposed
  // weight.
  if (tensor.dtype == DType::i8 && !projection.transposed) {
    if (const std::vector<float> scales = scales_of(tensor); !scales.empty()) {
      projection.copy = tensor.copy_scaled(scales);
      return;
    }
  }
  refuse(tensor.name,
         fmt::format("its elements are {}, which are no weights by themselves: supported are F64, "
                     "F32, F16 and BF16, and I8 as [out, in] with one scale beside it, {} [out] "
                     "or {} (one number or [out] of them, no zero point)",
                     tensor.type_word, printable(stem_of(tensor.name)) + ".SCB",
                     printable(tensor.name) + "_scale"));
}

Projection LayerTensors::projection(const std::string& weight_name, const std::string& bias_name,
                                    bool transposed) {
  const FileTensor& stored = file_.at(weight_name);
  if (stored.shape.size() != 2) {
    refuse(weight_name, fmt::format("a matrix {} was expected, its shape is {}, its type {}",
                                    transposed ? "[in, out]" : "[out, in]",
                                    format_shape(stored.shape), stored.type_word));
  }
  Projection projection;
  projection.transposed = transposed;
  projection.rows = stored.shape[transposed ? 1 : 0];
  projection.columns = stored.shape[transposed ? 0 : 1];
  read_weight(stored, projection);
  read_.insert(weight_name);
  if (const FileTensor* const bias = find(bias_name); bias != nullptr) {
    if (bias->shape != std::vector<std::int64_t>{projection.rows}) {
      refuse(bias_name, fmt::format("its shape {} does not match the {} rows of its weight",
                                    format_shape(bias->shape), projection.rows));
    }
    projection.bias = floats(bias_name);
  }
  return projection;
}

UnreadTensors LayerTensors::unread(std::string_view prefix, std::string_view first) const {
  constexpr std::size_t kMaxNames = 16;
  std::vector<const std::string*> names;
  for (const FileTensor& tensor : file_.tensors()) {
    if (tensor.name.starts_with(prefix) && !read_.contains(tensor.name)) {
      names.push_back(&tensor.name);
    }
  }
  const auto shown = names.begin() + static_cast<std::ptrdiff_t>(std::min(kMaxNames, names.size()));
  std::partial_sort(names.begin(), shown, names.end(),
                    [&](const std::string* a, const std::string* b) {
                      return std::pair(!a->starts_with(first), std::string_view(*a)) <
                             std::pair(!b->starts_with(first), std::string_view(*b));
                    });
  UnreadTensors unread;
  unread.count = names.size();
  std::for_each(names.begin(), shown,
                [&](const std::string* name) { unread.names.push_back(*name); });
  return unread;
}

}  // namespace rapt::tools
