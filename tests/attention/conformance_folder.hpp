// Conformance cases that a test writes: a folder with case.json and one file per tensor.
#pragma once

#include "conformance/check_cases.hpp"
#include "core/random.hpp"
#include "formats/file_bytes.hpp"
#include "reference/scalar.hpp"
#include "support/temporary_directory.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

namespace rapt::test {

inline std::vector<float> random_values(std::uint64_t seed, std::int64_t count) {
  Random random(seed);
  std::vector<float> values(static_cast<std::size_t>(count));
  for (float& value : values) value = random.normal();
  return values;
}

/// The scalar statement as the implementation under check.
inline conformance::Engine statement_engine() {
  return {"statement", [](auto q, auto k, auto v, auto out, const AttentionOptions& options) {
            reference::attention(q, k, v, out, options);
          }};
}

/// A case under construction. `facts` is case.json and may be changed before check().
class CaseFolder {
 public:
  CaseFolder(const std::string& op, const nlohmann::json& attributes) {
    const nlohmann::json bound = {{"atol", 1e-5}, {"rtol", 1e-5}};
    facts = {{"format", "attn-conformance-1"},
             {"name", "made"},
             {"suite", "made"},
             {"operator", op},
             {"attributes", attributes},
             {"tolerance", {{"f32", bound}, {"lse", bound}}},
             {"tensors", nlohmann::json::array()}};
  }

  template <class T>
  void add(const std::string& io, const std::string& role, const std::vector<T>& values,
           const conformance::Shape& shape) {
    std::string dtype = "f32";
    std::string stored = "<f4";
    if constexpr (std::is_same_v<T, std::int32_t>) dtype = "i32", stored = "<i4";
    if constexpr (std::is_same_v<T, std::int64_t>) dtype = "i64", stored = "<i8";
    if constexpr (std::is_same_v<T, float16>) dtype = "f16", stored = "<f2";
    if constexpr (std::is_same_v<T, bfloat16>) dtype = "bf16", stored = "<u2";
    if constexpr (std::is_same_v<T, double>) dtype = "f64", stored = "<f8";
    if constexpr (std::is_same_v<T, unsigned char>) dtype = "bool", stored = "|b1";
    const std::string bytes = bytes_of(values);
    const std::string file = io + "_" + role + ".npy";
    directory_->write(file, "head" + bytes);
    facts["tensors"].push_back({{"role", role},
                                {"io", io},
                                {"dtype", dtype},
                                {"shape", shape},
                                {"file", file},
                                {"stored_as", stored},
                                {"data_offset", 4},
                                {"nbytes", bytes.size()}});
  }

  std::filesystem::path path() const { return directory_->path(""); }

  conformance::CaseReport check(const conformance::Engine& engine = statement_engine()) const {
    directory_->write("case.json", facts.dump());
    return conformance::check_case(path(), {&engine, 1});
  }

  /// Writes a file of the folder, replacing an existing one.
  void write(const std::string& name, const std::string& bytes) const {
    directory_->write(name, bytes);
  }

  nlohmann::json facts;

 private:
  std::unique_ptr<TemporaryDirectory> directory_ = std::make_unique<TemporaryDirectory>();
};

}  // namespace rapt::test
