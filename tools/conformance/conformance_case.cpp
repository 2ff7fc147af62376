#include "conformance/conformance_case.hpp"

#include "rapt/error.hpp"

#include <nlohmann/json.hpp>

#include <cmath>
#include <fstream>
#include <limits>
#include <system_error>

namespace rapt::conformance {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

constexpr std::int64_t kMaxFactsBytes = std::int64_t{1} << 20;
constexpr std::int64_t kMaxCaseBytes = std::int64_t{1} << 30;
constexpr std::size_t kMaxTensors = 64;
constexpr std::size_t kMaxRank = 8;

struct TypeRow {
  std::string_view word;
  DType dtype;
  std::int64_t bytes;
  std::string_view stored_as;
};

constexpr TypeRow kTypes[] = {
    {"f64", DType::f64, 8, "<f8"}, {"f32", DType::f32, 4, "<f4"},
    {"f16", DType::f16, 2, "<f2"}, {"bf16", DType::bf16, 2, "<u2"},
    {"i64", DType::i64, 8, "<i8"}, {"i32", DType::i32, 4, "<i4"},
    {"i8", DType::i8, 1, "|i1"},   {"bool", DType::boolean, 1, "|b1"},
};

[[noreturn]] void refuse(const std::string& sentence) {
  throw Error(ErrorCode::malformed_file, sentence);
}

const Json& field(const Json& object, const char* name) {
  const auto at = object.find(name);
  if (at == object.end()) refuse(std::string("field '") + name + "' is missing");
  return *at;
}

std::string text_field(const Json& object, const char* name) {
  const Json& value = field(object, name);
  if (!value.is_string()) refuse(std::string("field '") + name + "' is not a string");
  return value.get<std::string>();
}

std::int64_t as_int64(const Json& value, const std::string& what) {
  const bool fits = value.is_number_unsigned()
                        ? value.get<std::uint64_t>() <= std::numeric_limits<std::int64_t>::max()
                        : value.is_number_integer();
  if (!fits) refuse(what + " is not a 64-bit integer");
  return value.get<std::int64_t>();
}

double as_tolerance(const Json& value, const std::string& what) {
  if (!value.is_number()) refuse(what + " is not a number");
  const double number = value.get<double>();
  if (!(number >= 0) || std::isinf(number)) refuse(what + " is not finite and at least 0");
  return number;
}

/// The bytes of a tensor of this shape. Extents of 0 count as 1, so that no later product of some
/// of the extents can overflow.
std::int64_t checked_bytes(const Shape& shape, std::int64_t element_bytes,
                           const std::string& what) {
  std::int64_t bound = element_bytes;
  for (const std::int64_t extent : shape) {
    if (extent < 0 || (extent > 0 && bound > kMaxCaseBytes / extent)) {
      refuse(what + ": shape " + to_text(shape) + " is negative or above 1 GiB");
    }
    bound *= extent > 0 ? extent : 1;
  }
  return element_count(shape) * element_bytes;
}

std::int64_t regular_file_size(const fs::path& path, const std::string& what) {
  std::error_code error;
  const bool regular = fs::is_regular_file(path, error);
  const auto size = regular ? fs::file_size(path, error) : 0;
  if (error) throw Error(ErrorCode::file_error, what + ": " + error.message());
  if (!regular) throw Error(ErrorCode::file_error, what + ": not a regular file");
  return static_cast<std::int64_t>(size);
}

std::vector<std::byte> read_bytes(const fs::path& path, std::int64_t offset, std::int64_t count,
                                  const std::string& what) {
  std::vector<std::byte> bytes(static_cast<std::size_t>(count));
  std::ifstream file(path, std::ios::binary);
  file.seekg(offset);
  file.read(reinterpret_cast<char*>(bytes.data()), count);
  if (!file) throw Error(ErrorCode::file_error, what + ": cannot be read");
  return bytes;
}

CaseTensor read_tensor(const fs::path& folder, const Json& facts, std::int64_t& case_bytes) {
  if (!facts.is_object()) refuse("an entry of 'tensors' is not an object");
  CaseTensor tensor;
  tensor.role = text_field(facts, "role");
  const std::string what = "tensor '" + tensor.role + "'";

  const std::string io = text_field(facts, "io");
  if (io != "input" && io != "output") refuse(what + ": io '" + io + "' is not input or output");
  tensor.is_output = io == "output";

  tensor.dtype_word = text_field(facts, "dtype");
  const TypeRow* type = nullptr;
  for (const TypeRow& row : kTypes) {
    if (row.word == tensor.dtype_word) type = &row;
  }
  if (type == nullptr) refuse(what + ": dtype '" + tensor.dtype_word + "' is unknown");
  tensor.dtype = type->dtype;
  const std::string stored = text_field(facts, "stored_as");
  if (stored != type->stored_as) {
    refuse(what + ": stored_as '" + stored + "' does not match dtype " + tensor.dtype_word);
  }

  const Json& extents = field(facts, "shape");
  if (!extents.is_array() || extents.size() > kMaxRank) {
    refuse(what + ": shape is not a list of at most 8 extents");
  }
  for (const Json& extent : extents) tensor.shape.push_back(as_int64(extent, what + ": extent"));
  const std::int64_t bytes = checked_bytes(tensor.shape, type->bytes, what);
  const std::int64_t nbytes = as_int64(field(facts, "nbytes"), what + ": nbytes");
  if (nbytes != bytes) {
    refuse(what + ": nbytes " + std::to_string(nbytes) + " does not match shape " +
           to_text(tensor.shape) + " of " + tensor.dtype_word);
  }
  case_bytes += bytes;
  if (case_bytes > kMaxCaseBytes) refuse(what + ": the case's tensors are above 1 GiB");

  const std::string name = text_field(facts, "file");
  if (name.empty() || name == "." || name == ".." ||
      name.find_first_of(std::string_view("/\\\0", 3)) != std::string::npos) {
    refuse(what + ": file '" + name + "' is not a name inside the case's folder");
  }
  const std::int64_t offset = as_int64(field(facts, "data_offset"), what + ": data_offset");
  const std::int64_t file_bytes = regular_file_size(folder / name, what + ": file '" + name + "'");
  if (offset < 0 || offset > file_bytes || nbytes > file_bytes - offset) {
    refuse(what + ": " + std::to_string(nbytes) + " bytes at offset " + std::to_string(offset) +
           " lie outside the file of " + std::to_string(file_bytes) + " bytes");
  }
  tensor.bytes = read_bytes(folder / name, offset, nbytes, what + ": file '" + name + "'");
  return tensor;
}

Attribute read_attribute(const Json& value, const std::string& name) {
  const std::string what = "attribute '" + name + "'";
  if (value.is_number_float()) return value.get<double>();
  if (value.is_number()) return as_int64(value, what);
  if (value.is_string()) return value.get<std::string>();
  refuse(what + " is not an integer, a float or a string");
}

std::map<std::string, Tolerance> read_tolerances(const Json& object) {
  if (!object.is_object()) refuse("field 'tolerance' is not an object");
  std::map<std::string, Tolerance> tolerances;
  for (const auto& [key, bound] : object.items()) {
    const std::string what = "tolerance '" + key + "'";
    if (!bound.is_object()) refuse(what + " is not an object");
    tolerances[key] = {as_tolerance(field(bound, "atol"), what + ": atol"),
                       as_tolerance(field(bound, "rtol"), what + ": rtol")};
  }
  return tolerances;
}

Json read_facts(const fs::path& folder) {
  const fs::path path = folder / "case.json";
  const std::int64_t bytes = regular_file_size(path, "case.json");
  if (bytes > kMaxFactsBytes) refuse("case.json is above 1 MiB");
  const std::vector<std::byte> text = read_bytes(path, 0, bytes, "case.json");
  const auto* begin = reinterpret_cast<const char*>(text.data());
  Json facts = Json::parse(begin, begin + text.size(), nullptr, /*allow_exceptions=*/false);
  if (!facts.is_object()) refuse("case.json is not a JSON object");
  return facts;
}

}  // namespace

Case read_case(const fs::path& folder) {
  const Json facts = read_facts(folder);
  const std::string format = text_field(facts, "format");
  if (format != "attn-conformance-1") refuse("format '" + format + "' is not attn-conformance-1");

  Case result;
  result.name = text_field(facts, "name");
  result.suite = text_field(facts, "suite");
  result.op = text_field(facts, "operator");
  const Json& attributes = field(facts, "attributes");
  if (!attributes.is_object()) refuse("field 'attributes' is not an object");
  for (const auto& [name, value] : attributes.items()) {
    result.attributes[name] = read_attribute(value, name);
  }
  result.tolerances = read_tolerances(field(facts, "tolerance"));

  const Json& tensors = field(facts, "tensors");
  if (!tensors.is_array() || tensors.size() > kMaxTensors) {
    refuse("field 'tensors' is not a list of at most 64 tensors");
  }
  std::int64_t case_bytes = 0;
  for (const Json& entry : tensors) {
    CaseTensor tensor = read_tensor(folder, entry, case_bytes);
    const bool twice = tensor.is_output ? result.find_output(tensor.role) != nullptr
                                        : result.find_input(tensor.role) != nullptr;
    if (twice) refuse("tensor '" + tensor.role + "' is there twice");
    result.tensors.push_back(std::move(tensor));
  }
  return result;
}

const CaseTensor* Case::find_input(std::string_view role) const {
  for (const CaseTensor& tensor : tensors) {
    if (!tensor.is_output && tensor.role == role) return &tensor;
  }
  return nullptr;
}

const CaseTensor* Case::find_output(std::string_view role) const {
  for (const CaseTensor& tensor : tensors) {
    if (tensor.is_output && tensor.role == role) return &tensor;
  }
  return nullptr;
}

const CaseTensor& Case::input(std::string_view role) const {
  const CaseTensor* tensor = find_input(role);
  if (tensor == nullptr) refuse("input '" + std::string(role) + "' is missing");
  return *tensor;
}

const CaseTensor& Case::output(std::string_view role) const {
  const CaseTensor* tensor = find_output(role);
  if (tensor == nullptr) refuse("output '" + std::string(role) + "' is missing");
  return *tensor;
}

const Tolerance& Case::tolerance(const std::string& key) const {
  const auto at = tolerances.find(key);
  if (at == tolerances.end()) refuse("tolerance '" + key + "' is missing");
  return at->second;
}

std::int64_t Case::integer(const std::string& attribute, std::int64_t otherwise) const {
  const auto at = attributes.find(attribute);
  if (at == attributes.end()) return otherwise;
  const auto* value = std::get_if<std::int64_t>(&at->second);
  if (value == nullptr) refuse("attribute '" + attribute + "' is not an integer");
  return *value;
}

double Case::real(const std::string& attribute, double otherwise) const {
  const auto at = attributes.find(attribute);
  if (at == attributes.end()) return otherwise;
  if (const auto* value = std::get_if<double>(&at->second)) return *value;
  if (const auto* value = std::get_if<std::int64_t>(&at->second)) {
    return static_cast<double>(*value);
  }
  const std::string word = std::get<std::string>(at->second);
  if (word == "inf") return HUGE_VAL;
  if (word == "-inf") return -HUGE_VAL;
  if (word == "nan") return std::nan("");
  refuse("attribute '" + attribute + "' is not a number");
}

std::string Case::word(const std::string& attribute, const std::string& otherwise) const {
  const auto at = attributes.find(attribute);
  if (at == attributes.end()) return otherwise;
  const auto* value = std::get_if<std::string>(&at->second);
  if (value == nullptr) refuse("attribute '" + attribute + "' is not a string");
  return *value;
}

}  // namespace rapt::conformance
