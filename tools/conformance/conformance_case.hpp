// One conformance case in a folder: facts, tolerances and tensors, all checked while
// reading.
#pragma once

#include "rapt/weights_file.hpp"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace rapt::conformance {

using Shape = std::vector<std::int64_t>;

/// The number of elements, 1 for rank 0.
std::int64_t element_count(const Shape& shape);

/// "[2, 3, 4]"
std::string to_text(const Shape& shape);

/// A tensor of a case: its bytes as stored, dense, row-major, little endian.
struct CaseTensor {
  std::string role;
  bool is_output = false;
  DType dtype = DType::other;
  std::string dtype_word;  ///< as case.json spells it: "f32", "bool", ...
  Shape shape;
  std::vector<std::byte> bytes;

  std::int64_t size() const { return element_count(shape); }

  /// The values of an f32, f16 or bf16 tensor, widened exactly.
  std::vector<float> floats() const;
  /// The values of an f64, f32, f16 or bf16 tensor, widened exactly.
  std::vector<double> doubles() const;
  /// The values of an i64 or i32 tensor.
  std::vector<std::int64_t> integers() const;
  /// The values of a bool tensor, each 0 or 1; any other byte is refused.
  /// These four throw Error{malformed_file} naming the role if the tensor has another type.
  std::vector<unsigned char> bools() const;
};

/// |got - want| <= atol + rtol * |want|
struct Tolerance {
  double atol = 0;
  double rtol = 0;
};

using Attribute = std::variant<std::int64_t, double, std::string>;

struct Case {
  std::string name;
  std::string suite;
  std::string op;
  std::map<std::string, Attribute> attributes;
  std::map<std::string, Tolerance> tolerances;
  std::vector<CaseTensor> tensors;

  /// nullptr if there is none.
  const CaseTensor* find_input(std::string_view role) const;
  const CaseTensor* find_output(std::string_view role) const;
  /// These throw Error{malformed_file} naming a missing attribute, or one of another type.
  const CaseTensor& input(std::string_view role) const;
  const CaseTensor& output(std::string_view role) const;
  const Tolerance& tolerance(const std::string& key) const;

  bool has(const std::string& attribute) const { return attributes.count(attribute) != 0; }
  std::int64_t integer(const std::string& attribute, std::int64_t otherwise) const;
  double real(const std::string& attribute, double otherwise) const;
  std::string word(const std::string& attribute, const std::string& otherwise) const;
};

/// Reads the case in `folder`. Every fact is checked before it is used: types, shapes against
/// bytes, bytes against the file, files inside the folder, at most 1 GiB for the whole case. Throws
/// Error{file_error} or Error{malformed_file} naming the tensor or field and its value.
Case read_case(const std::filesystem::path& folder);

}  // namespace rapt::conformance
