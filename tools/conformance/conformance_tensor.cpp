// The values of a case's tensors, converted from their stored type.
#include "conformance/conformance_case.hpp"
#include "rapt/error.hpp"

#include <cstring>

namespace rapt::conformance {
namespace {

/// Calls use(i, value) with the i-th stored value of type T.
template <class T, class Use>
void for_each_value(const CaseTensor& tensor, const Use& use) {
  for (std::size_t i = 0; i * sizeof(T) < tensor.bytes.size(); ++i) {
    T value;
    std::memcpy(&value, tensor.bytes.data() + i * sizeof(T), sizeof(T));
    use(i, value);
  }
}

[[noreturn]] void refuse(const CaseTensor& tensor, const char* wanted) {
  throw Error(ErrorCode::malformed_file,
              "tensor '" + tensor.role + "' is " + tensor.dtype_word + ", which is not " + wanted);
}

}  // namespace

std::int64_t element_count(const Shape& shape) {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string to_text(const Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += (i > 0 ? ", " : "") + std::to_string(shape[i]);
  }
  return text + "]";
}

std::vector<float> CaseTensor::floats() const {
  std::vector<float> values(static_cast<std::size_t>(size()));
  const auto store = [&](std::size_t i, auto value) { values[i] = static_cast<float>(value); };
  switch (dtype) {
    case DType::f32:
      for_each_value<float>(*this, store);
      break;
    case DType::f16:
      for_each_value<float16>(*this, store);
      break;
    case DType::bf16:
      for_each_value<bfloat16>(*this, store);
      break;
    default:
      refuse(*this, "f32, f16 or bf16");
  }
  return values;
}

std::vector<double> CaseTensor::doubles() const {
  if (dtype != DType::f64) {
    const std::vector<float> values = floats();
    return {values.begin(), values.end()};
  }
  std::vector<double> values(static_cast<std::size_t>(size()));
  for_each_value<double>(*this, [&](std::size_t i, double value) { values[i] = value; });
  return values;
}

std::vector<std::int64_t> CaseTensor::integers() const {
  std::vector<std::int64_t> values(static_cast<std::size_t>(size()));
  switch (dtype) {
    case DType::i64:
      for_each_value<std::int64_t>(*this, [&](std::size_t i, std::int64_t v) { values[i] = v; });
      break;
    case DType::i32:
      for_each_value<std::int32_t>(*this, [&](std::size_t i, std::int32_t v) { values[i] = v; });
      break;
    default:
      refuse(*this, "i32 or i64");
  }
  return values;
}

std::vector<unsigned char> CaseTensor::bools() const {
  if (dtype != DType::boolean) refuse(*this, "bool");
  std::vector<unsigned char> values(static_cast<std::size_t>(size()));
  for_each_value<unsigned char>(*this, [&](std::size_t i, unsigned char value) {
    if (value > 1) {
      throw Error(ErrorCode::malformed_file, "tensor '" + role + "': byte " + std::to_string(i) +
                                                 " is " + std::to_string(value) +
                                                 ", a bool is 0 or 1");
    }
    values[i] = value;
  });
  return values;
}

}  // namespace rapt::conformance
