// Projections and vectors of a layer in a .safetensors file, and its unread tensors.
#pragma once

#include "rapt/linear.hpp"
#include "rapt/weights_file.hpp"

#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace rapt::tools {

/// A weight [out, in] with its bias. Valid while the file is open.
struct Projection {
  TensorView<const void, 2> in_place;  ///< the weight in the file, in its type; or no data
  std::vector<float> copy;             ///< the weight otherwise
  std::vector<float> bias;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  bool transposed = false;  ///< the weight is stored as [in, out]

  TensorView<const void, 2> view() const {
    using View = TensorView<const float, 2>;
    const View::Index shape{transposed ? columns : rows, transposed ? rows : columns};
    const TensorView<const void, 2> stored =
        in_place.data != nullptr ? in_place : View(copy.data(), shape);
    return transposed ? stored.swapped(0, 1) : stored;
  }

  Linear linear() const { return Linear(view(), bias); }
};

/// A file may have millions of unread tensors: all are counted, the first are named.
struct UnreadTensors {
  std::size_t count = 0;
  std::vector<std::string> names;  ///< at most 16
};

/// The tensors of a file, and which of them were used.
class LayerTensors {
 public:
  explicit LayerTensors(const SafetensorsFile& file) : file_(file) {}

  const FileTensor* find(std::string_view name) const { return file_.find(name); }
  const FileTensor& at(std::string_view name) const { return file_.at(name); }

  /// The weight `weight_name`, with the bias `bias_name` if the file has one. F32, F16 and BF16 at
  /// multiples of their size are used in place; the others are copied. An int8 weight is read with
  /// its scale: the SCB of LLM.int8(), where a row is int8 * SCB / 127, or the
  /// weight_scale of symmetric quantisation, one number or one per row. Throws
  /// Error{invalid_argument} naming the tensor for other integers, wrong shapes, or a missing
  /// tensor.
  Projection projection(const std::string& weight_name, const std::string& bias_name,
                        bool transposed = false);

  /// The elements of a floating-point tensor.
  std::vector<float> floats(const std::string& name);

  /// The unread tensors whose names start with `prefix`: those that start with `first`, the
  /// attention's own, come first.
  UnreadTensors unread(std::string_view prefix, std::string_view first) const;

 private:
  void read_weight(const FileTensor& tensor, Projection& projection);
  std::vector<float> scales_of(const FileTensor& tensor);

  const SafetensorsFile& file_;
  std::set<std::string, std::less<>> read_;
};

}  // namespace rapt::tools
