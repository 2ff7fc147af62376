// Reading conformance cases: valid and refused contents of a folder, and the names of missing
// options.
#include "attention/conformance_folder.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

using conformance::CaseReport;
using conformance::Status;
using nlohmann::json;

/// A valid case of AttentionX with one key.
CaseFolder small_case(const std::string& op = "AttentionX",
                      const json& attributes = json::object()) {
  CaseFolder made(op, attributes);
  made.add("input", "Q", std::vector<float>{1, 2}, {1, 1, 1, 2});
  made.add("input", "K", std::vector<float>{3, 4}, {1, 1, 1, 2});
  made.add("input", "V", std::vector<float>{5, 6}, {1, 1, 1, 2});
  made.add("output", "Y", std::vector<float>{5, 6}, {1, 1, 1, 2});
  return made;
}

/// A change to case.json, and words of the resulting sentence.
struct Fault {
  std::function<void(json&)> change;
  std::string words;
};

const std::vector<Fault> kFaults = {
    {[](json& c) { c.erase("name"); }, "field 'name' is missing"},
    {[](json& c) { c["operator"] = 7; }, "field 'operator' is not a string"},
    {[](json& c) { c["format"] = "other"; }, "format 'other'"},
    {[](json& c) { c["attributes"] = 3; }, "field 'attributes' is not an object"},
    {[](json& c) { c["attributes"]["scale"] = json::array(); }, "attribute 'scale' is not an"},
    {[](json& c) { c["attributes"]["scale"] = "wide"; }, "attribute 'scale' is not a number"},
    {[](json& c) { c["attributes"]["causal"] = 0.5; }, "attribute 'causal' is not an integer"},
    {[](json& c) { c["attributes"]["layout"] = "DSHB"; }, "layout 'DSHB' is unknown"},
    {[](json& c) { c["attributes"]["align"] = "left"; }, "align 'left' is unknown"},
    {[](json& c) { c["tolerance"] = json::array(); }, "field 'tolerance' is not an object"},
    {[](json& c) { c["tolerance"]["f32"]["atol"] = -1; }, "tolerance 'f32': atol is not finite"},
    {[](json& c) { c["tolerance"].erase("f32"); }, "tolerance 'f32' is missing"},
    {[](json& c) { c["tensors"] = {}; }, "field 'tensors' is not a list"},
    {[](json& c) { c["tensors"].push_back(5); }, "an entry of 'tensors' is not an object"},
    {[](json& c) { c["tensors"].push_back(c["tensors"][0]); }, "tensor 'Q' is there twice"},
    {[](json& c) { c["tensors"].erase(1); }, "input 'K' is missing"},
    {[](json& c) { c["tensors"].erase(3); }, "output 'Y' is missing"},
    {[](json& c) { c["tensors"][0]["io"] = "in"; }, "io 'in' is not input or output"},
    {[](json& c) { c["tensors"][0]["dtype"] = "f31"; }, "dtype 'f31' is unknown"},
    {[](json& c) { c["tensors"][0]["stored_as"] = ">f4"; }, "stored_as '>f4' does not match"},
    {[](json& c) { c["tensors"][0]["shape"] = 4; }, "shape is not a list"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {1, 1, 1, "2"};
     },
     "extent is not a 64-bit"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {1, 1, -1, -2};
     },
     "is negative or above 1 GiB"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {1, 4194305, 4194305, 211106198978564};
     },
     "is negative or above 1 GiB"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {0, 1ll << 40, 1ll << 40, 2};
     },
     "is negative or above 1 GiB"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {1, 1, 1, 3};
     },
     "nbytes 8 does not match shape"},
    {[](json& c) {
       c["tensors"][0]["shape"] = {2, 1};
     },
     "which is not of rank 4"},
    {[](json& c) { c["tensors"][0]["nbytes"] = 18446744073709551615u; }, "nbytes is not a 64-bit"},
    {[](json& c) { c["tensors"][0]["data_offset"] = -4; }, "lie outside the file"},
    {[](json& c) { c["tensors"][0]["data_offset"] = 5; }, "lie outside the file of 12 bytes"},
    {[](json& c) { c["tensors"][0]["data_offset"] = INT64_MAX; }, "lie outside the file"},
    {[](json& c) { c["tensors"][0]["file"] = "../Q.npy"; }, "is not a name inside the case"},
    {[](json& c) { c["tensors"][0]["file"] = "/etc/hostname"; }, "is not a name inside the case"},
    {[](json& c) { c["tensors"][0]["file"] = std::string("Q\0x", 3); }, "tensor 'Q': file 'Q"},
    {[](json& c) { c["tensors"][0]["file"] = ".."; }, "is not a name inside the case"},
    {[](json& c) { c["tensors"][0]["file"] = "none.npy"; }, "none.npy': No such file"},
    {[](json& c) {
       c["tensors"][3]["shape"] = {1, 1, 2, 1};
     },
     "the other tensors give [1, 1, 1, 2]"},
};

std::string first_sentence(const CaseReport& report) {
  return report.failures.empty() ? "no failure" : report.failures.front().sentence;
}

}  // namespace

TEST_CASE("an inconsistent case fails with a sentence, whatever its fault") {
  REQUIRE(first_sentence(small_case().check()) == "no failure");
  for (const Fault& fault : kFaults) {
    CaseFolder made = small_case();
    fault.change(made.facts);
    const CaseReport report = made.check();
    CHECK(report.status() == Status::failed);
    CHECK_MESSAGE(first_sentence(report).find(fault.words) != std::string::npos,
                  "expected '" << fault.words << "', found '" << first_sentence(report) << "'");
  }
}

TEST_CASE("a case.json that is not a JSON object fails, as does every truncation of a valid one") {
  const CaseFolder made = small_case();
  const conformance::Engine engine = statement_engine();
  const std::string text = made.facts.dump();
  std::vector<std::string> texts{"[1]", "\xff\xfe", std::string(200000, '['),
                                 "{\"name\": \"\xc3\"}", std::string((1 << 20) + 1, ' ')};
  for (std::size_t size = 0; size < text.size(); ++size) texts.push_back(text.substr(0, size));
  for (const std::string& bad : texts) {
    made.write("case.json", bad);
    const CaseReport report = conformance::check_case(made.path(), {&engine, 1});
    CHECK(report.status() == Status::failed);
  }
}

TEST_CASE("a folder in place of a file is refused") {
  const conformance::Engine engine = statement_engine();
  CaseFolder made = small_case();
  std::filesystem::create_directory(made.path() / "folder.npy");
  made.facts["tensors"][0]["file"] = "folder.npy";
  CHECK(first_sentence(made.check()) == "tensor 'Q': file 'folder.npy': not a regular file");

  TemporaryDirectory other;
  std::filesystem::create_directory(other.path("case.json"));
  CHECK(first_sentence(conformance::check_case(other.path(""), {&engine, 1})) ==
        "case.json: not a regular file");
}

TEST_CASE("row offsets that do not ascend to the number of rows are refused") {
  for (const std::vector<std::int32_t>& rows :
       {std::vector<std::int32_t>{}, {0}, {0, 2}, {1, 1}, {0, 5, 1}, {0, -1, 1}}) {
    CaseFolder made("AttentionX", {{"layout", "packed"}});
    for (const char* role : {"Q", "K", "V"}) {
      made.add("input", role, std::vector<float>{1}, {1, 1, 1});
    }
    made.add("input", "cu_seqlens_q", rows, {static_cast<std::int64_t>(rows.size())});
    made.add("input", "cu_seqlens_k", std::vector<std::int32_t>{0, 1}, {2});
    made.add("output", "Y", std::vector<float>{1}, {1, 1, 1});
    CHECK(first_sentence(made.check()) == "tensor 'cu_seqlens_q' does not ascend from 0 to 1");
  }
}

TEST_CASE("a bool tensor with a byte other than 0 and 1 is refused") {
  CaseFolder made = small_case();
  made.add("input", "attn_mask", std::vector<unsigned char>{2}, {1, 1});
  CHECK(first_sentence(made.check()) == "tensor 'attn_mask': byte 0 is 2, a bool is 0 or 1");
}

TEST_CASE("a skipped case names every unsupported option that its facts contain") {
  using Names = std::vector<std::string>;
  const auto needs = [](const CaseFolder& made) {
    const CaseReport report = made.check();
    CHECK(report.status() == Status::skipped);
    return report.needs;
  };
  CHECK(needs(small_case("Gelu")) == Names{"operator Gelu"});
  CHECK(needs(small_case("Attention", {{"softmax_precision", 11}})) ==
        Names{"softmax_precision 11"});
  CHECK(needs(small_case("Attention", {{"left", 1}})) == Names{"attribute left"});
  CHECK(needs(small_case("AttentionX", {{"left", 1}, {"right", 2}})) ==
        Names{"attribute left", "attribute right"});

  CHECK(needs(small_case("Attention", {{"qk_matmul_output_mode", 4}})) ==
        Names{"qk_matmul_output_mode 4"});

  CaseFolder extras = small_case();
  extras.add("input", "sinks", std::vector<double>{1}, {1});
  extras.add("input", "dropout", std::vector<float>{1}, {1});
  extras.add("output", "entropy", std::vector<float>{1}, {1});
  CHECK(needs(extras) == Names{"f64 storage", "input dropout", "output entropy"});

  CaseFolder wide("AttentionX", json::object());
  for (const char* role : {"Q", "K", "V"}) {
    wide.add("input", role, std::vector<double>{1}, {1, 1, 1, 1});
  }
  CHECK(needs(wide) == Names{"f64 storage"});
}

TEST_CASE("a case may expect the scores before the cap, after it, or after the mask") {
  const float scaled = 11.0f / std::sqrt(2.0f);
  const float capped = 9.0f * std::tanh(scaled / 9.0f);
  for (const auto& [mode, want] : {std::pair{0, scaled}, {1, capped}, {2, -HUGE_VALF}}) {
    for (const float wrong : {0.0f, 0.5f}) {
      CaseFolder made("Attention", {{"qk_matmul_output_mode", mode}, {"softcap", 9.0}});
      for (const auto& [role, x, y] :
           {std::tuple{"Q", 1.0f, 2.0f}, {"K", 3.0f, 4.0f}, {"V", 5.0f, 6.0f}}) {
        made.add("input", role, std::vector<float>{x, y}, {1, 1, 1, 2});
      }
      made.add("input", "attn_mask", std::vector<unsigned char>{0}, {1, 1});
      made.add("output", "Y", std::vector<float>{0, 0}, {1, 1, 1, 2});
      const float expected = mode == 2 && wrong != 0.0f ? 0.0f : want + wrong;
      made.add("output", "qk_matmul_output", std::vector<float>{expected}, {1, 1, 1, 1});
      CHECK(made.check().status() == (wrong == 0.0f ? Status::passed : Status::failed));
    }
  }
}

TEST_CASE("16-bit values are widened exactly") {
  const auto widened = [](DType dtype, std::vector<std::uint16_t> bits) {
    const auto count = static_cast<std::int64_t>(bits.size());
    return conformance::CaseTensor{"Y", true, dtype, "", {count}, exact_copy(bytes_of(bits))}
        .doubles();
  };
  const auto f16 = widened(DType::f16, {0x3c00, 0xc248, 0x0001, 0x83ff, 0x7bff, 0x7c00, 0xfc00});
  CHECK(f16 ==
        std::vector<double>{1.0, -3.140625, 0x1p-24, -0x3ffp-24, 65504.0, HUGE_VAL, -HUGE_VAL});
  CHECK(std::isnan(widened(DType::f16, {0x7e00})[0]));
  const auto bf16 = widened(DType::bf16, {0x3f80, 0xc049, 0x0001, 0x7f80});
  CHECK(bf16 == std::vector<double>{1.0, -3.140625, 0x1p-133, HUGE_VAL});
}

TEST_CASE("cases are found at any depth, including the folder itself, sorted by path") {
  const TemporaryDirectory root;
  for (const char* folder : {"b/deep", "a", "c"}) {
    std::filesystem::create_directories(root.path(folder));
  }
  for (const char* file : {"b/deep/case.json", "a/case.json", "case.json", "c/other.json"}) {
    root.write(file, "{}");
  }
  const std::vector<std::filesystem::path> expected{root.path(""), root.path("a"),
                                                    root.path("b/deep")};
  CHECK(conformance::find_cases(root.path("")) == expected);
  CHECK(conformance::find_cases(root.path("c")).empty());
  const auto error = error_of([&] { conformance::find_cases(root.path("none")); });
  REQUIRE(error);
  CHECK(error->code() == ErrorCode::file_error);
}

}  // namespace rapt::test
