// .safetensors: every type is read, every malformed file is an error with its position.
#include "formats/file_bytes.hpp"
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <limits>
#include <string>

namespace rapt::test {
namespace {

/// `"name":{"dtype":...}`, one entry of a header.
std::string entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  std::size_t begin, std::size_t end) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

/// A file whose header is malformed, or disagrees with the 16 data bytes after it.
struct Malformed {
  std::string header;
  std::string at;        ///< the error's byte offset is the last occurrence of this in the header
  std::string fragment;  ///< part of the sentence
};

/// `"a"` with everything valid except for the given field.
Malformed with_shape(const std::string& shape, const std::string& at, const std::string& fragment) {
  return {"{" + entry("a", "F32", shape, 0, 16) + "}", at, fragment};
}
Malformed with_offsets(const std::string& offsets, const std::string& at,
                       const std::string& fragment) {
  return {R"({"a":{"dtype":"F32","shape":[4],"data_offsets":)" + offsets + "}}", at, fragment};
}

std::string repeated(const std::string& text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

void check_malformed(const TemporaryDirectory& directory, const Malformed& malformed,
                     std::size_t offset, const std::string& file) {
  CAPTURE(malformed.header.substr(0, 200));
  const std::string path = directory.write("malformed.safetensors", file);
  const std::optional<Error> error = error_of([&] { SafetensorsFile(std::string(path)); });
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::malformed_file);
  const std::string sentence = error->what();
  CAPTURE(sentence);
  CHECK(sentence.starts_with(path + ": byte " + std::to_string(offset) + ": "));
  CHECK(sentence.find(malformed.fragment) != std::string::npos);
  CHECK(sentence.size() < path.size() + 400);
}

void check_malformed(const std::vector<Malformed>& all) {
  const TemporaryDirectory directory;
  const std::string data(16, '\1');
  for (const Malformed& malformed : all) {
    const std::size_t offset = 8 + malformed.header.rfind(malformed.at);
    check_malformed(directory, malformed, offset, safetensors_bytes(malformed.header, data));
  }
}

TEST_CASE("a safetensors header that is not one JSON object in UTF-8 is an error at its byte") {
  const std::string valid = entry("a", "F32", "[4]", 0, 16);
  using namespace std::string_literals;
  check_malformed({
      {"", "", "must start with '{'"},
      {"[]", "[", "must start with '{'"},
      {" {" + valid + "}", " {", "must start with '{'"},
      {"\xef\xbb\xbf{" + valid + "}", "\xef", "must start with '{'"},
      {"{" + valid + "}x", "x", "not valid JSON"},
      {"{" + valid + "}{}", "{}", "not valid JSON"},
      {"{" + valid + "}\0\0"s, "\0\0"s, "zero byte"},
      {"{" + valid + "}\0}"s, "\0}"s, "zero byte"},
      {"{" + valid, "", "not complete"},
      {"{\"a\":", "", "not complete"},
      {"{\"a", "", "not complete"},
      {"{" + valid + ",}", "}", "not valid JSON"},
      {"{" + valid + "]", "]", "not valid JSON"},
      {"{'a':1}", "'a", "not valid JSON"},
      {"{/**/" + valid + "}", "/**", "not valid JSON"},
      {"{a:1}", "a:", "not valid JSON"},
      {"{\"\xff\":1}", "\xff", "\"\\xff"},
      {"{\"\xc0\xaf\":1}", "\xc0", "UTF-8"},
      {"{\"\xed\xa0\x80\":1}", "\xa0", "UTF-8"},
      {R"({"\ud800":1})", "\":1", "not valid JSON"},
      {R"({"\q":1})", "q", "not valid JSON"},
      {"{\"a\nb\":1}", "\n", "not valid JSON"},
      {R"({"a":{"dtype":"F32","shape":[NaN]}})", "NaN", "not valid JSON"},
      {R"({"a":{"dtype":"F32","shape":[04],"data_offsets":[0,16]}})", "4]", "not valid JSON"},
      {R"({"a":{"dtype":"F32","shape":[+4],"data_offsets":[0,16]}})", "+4", "not valid JSON"},
  });
}

TEST_CASE("a safetensors entry with a wrong key or type is an error that names the tensor") {
  const std::string valid = entry("a", "F32", "[4]", 0, 16);
  const std::string zeros64 = "[" + repeated("1,", 64) + "1]";
  check_malformed({
      {R"({"a":1})", "1", "\"a\" must be an object"},
      {R"({"a":null})", "null", "\"a\" must be an object"},
      {R"({"a":[]})", "[]", "\"a\" must be an object"},
      {R"({"a":"F32"})", "\"F32", "\"a\" must be an object"},
      {R"({"a":{}})", "\"a\"", "has no \"dtype\""},
      {R"({"a":{"shape":[4],"data_offsets":[0,16]}})", "\"a\"", "has no \"dtype\""},
      {R"({"a":{"dtype":"F32","data_offsets":[0,16]}})", "\"a\"", "has no \"shape\""},
      {R"({"a":{"dtype":"F32","shape":[4]}})", "\"a\"", "has no \"data_offsets\""},
      {R"({"a":{"dtype":"F32","dtype":"F32"}})", "\"dtype", "\"dtype\" stands twice"},
      {R"({"a":{"shape":[4],"sh\u0061pe":[4]}})", "\"sh\\u", "\"shape\" stands twice"},
      {R"({"a":{"Dtype":"F32"}})", "\"Dtype", "unknown key \"Dtype\""},
      {R"({"a":{"dtype":32}})", "32", "\"dtype\" must be a string"},
      {R"({"a":{"dtype":["F32"]}})", "[", "\"dtype\" must be a string"},
      {R"({"a":{"dtype":{}}})", "{}", "\"dtype\" must be a string"},
      {R"({"a":{"dtype":"F33"}})", "\"F33", "unknown dtype \"F33\""},
      {R"({"a":{"dtype":"f32"}})", "\"f32", "unknown dtype \"f32\""},
      {R"({"a":{"dtype":""}})", "\"\"", "unknown dtype \"\""},
      with_shape("4", "4", "\"shape\" must be an array"),
      with_shape("\"4\"", "\"4", "\"shape\" must be an array"),
      with_shape("{}", "{}", "\"shape\" must be an array"),
      with_shape("[-4]", "-4", "whole numbers below 2^63, found a negative"),
      with_shape("[-0]", "-0", "whole numbers below 2^63, found a negative"),
      with_shape("[4.0]", "4.0", "\"4.0\", fractional"),
      with_shape("[4e0]", "4e0", "\"4e0\", fractional"),
      with_shape("[9223372036854775808]", "9223372036854775808", "reaches 2^63"),
      with_shape("[18446744073709551616]", "18446744073709551616", "too large"),
      with_shape("[ 4 , true ]", "true", "found true"),
      with_shape("[4,null]", "null", "found null"),
      with_shape("[4,\"4\"]", "\"4", "found the string \"4\""),
      with_shape("[[4]]", "[4]", "found an array"),
      with_shape("[{}]", "{}", "found an object"),
      with_shape(zeros64, "1]", "more than 64 dimensions"),
      with_shape("[4e999]", "4e999", "found a number that is too large"),
      with_shape(repeated("[", 100000), repeated("[", 99999), "found an array"),
      {repeated("{\"a\":", 100000), "\"a\":" + repeated("{\"a\":", 99998), "unknown key"},
      with_offsets("[0]", "]}}", "two numbers, found 1"),
      with_offsets("[]", "]}}", "two numbers, found 0"),
      with_offsets("[0,16,16]", "]}}", "two numbers, found 3"),
      with_offsets("[-1,15]", "-1", "found a negative number"),
      with_offsets("[0,1.6e1]", "1.6", "fractional"),
      with_offsets("16", "16", "\"data_offsets\" must be an array"),
      {R"({"__metadata__":1})", "1", "\"__metadata__\" must be an object"},
      {R"({"__metadata__":null})", "null", "\"__metadata__\" must be an object"},
      {R"({"__metadata__":{"x":1}})", "1", "must be strings, found the number 1"},
      {R"({"__metadata__":{"x":{}}})", "{}", "must be strings, found an object"},
      {R"({"__metadata__":{"x":[]}})", "[]", "must be strings, found an array"},
      {R"({"__metadata__":{"x":"1","x":"2"},)" + valid + "}", "\"x", "metadata key \"x\" stands"},
      {R"({"__metadata__":{},"__metadata__":{}})", "\"__m", "stands twice"},
      {"{" + valid + "," + valid + "}", "\"a\"", "tensor \"a\" stands twice"},
      {"{" + valid + "," + entry("\\u0061", "F32", "[0]", 16, 16) + "}", "\"\\u", "stands twice"},
  });
}

TEST_CASE("safetensors shapes and offsets that disagree with each other or the data are errors") {
  const std::string last = entry("b", "F32", "[2]", 8, 16);
  check_malformed({
      with_offsets("[16,0]", "\"a\"", "[16, 0] end before they begin"),
      with_offsets("[0,17]", "\"a\"", "pass the end of the 16 data bytes"),
      with_offsets("[9223372036854775807,9223372036854775807]", "\"a\"", "pass the end"),
      with_offsets("[9223372036854775792,9223372036854775807]", "\"a\"", "pass the end"),
      with_shape("[4194305,4194305,211106198978564]", "\"a\"", "overflows"),
      with_shape("[4294967296,4294967296,0]", "\"a\"", "overflows"),
      with_shape("[0,4294967296,4294967296]", "\"a\"", "overflows"),
      with_shape("[4611686018427387904]", "\"a\"", "overflows"),
      with_shape("[5]", "\"a\"", "shape [5] needs 20 bytes, but data_offsets [0, 16] hold 16"),
      with_shape("[2]", "\"a\"", "shape [2] needs 8 bytes"),
      with_shape("[0]", "\"a\"", "shape [0] needs 0 bytes"),
      with_shape("[]", "\"a\"", "shape [] needs 4 bytes"),
      {"{" + entry("a", "F4", "[31]", 0, 16) + "}", "\"a\"", "does not fill whole bytes"},
      {"{" + entry("a", "F6_E2M3", "[21]", 0, 16) + "}", "\"a\"", "does not fill whole bytes"},
      {"{" + entry("a", "F32", "[3]", 0, 12) + "," + last + "}", "\"b\"", "inside the tensor"},
      {"{" + last + "," + entry("a", "F32", "[4]", 0, 16) + "}", "\"b\"", "inside the tensor"},
      {"{" + entry("a", "F32", "[2]", 8, 16) + "," + last + "}", "\"a\"", "after a hole"},
      {"{" + entry("a", "F32", "[1]", 0, 4) + "," + last + "}", "\"b\"", "hole that starts at 4"},
      {"{" + last + "}", "\"b\"", "hole that starts at 0"},
      {"{" + entry("e", "F32", "[0]", 12, 12) + "," + entry("a", "F32", "[4]", 0, 16) + "}",
       "\"e\"", "inside the tensor"},
  });

  const TemporaryDirectory directory;
  const std::string header = "{" + entry("a", "F32", "[3]", 0, 12) + "}";
  const Malformed longer{header, "", "the file goes on for 4 bytes after the last tensor"};
  check_malformed(directory, longer, 8 + header.size() + 12,
                  safetensors_bytes(header, std::string(16, '\1')));
  const Malformed empty{"{}", "", "the file goes on for 1 byte after the last tensor"};
  check_malformed(directory, empty, 10, safetensors_bytes("{}", "x"));
}

TEST_CASE("a safetensors header length beyond the file or the limit is an error and never wraps") {
  const TemporaryDirectory directory;
  const auto check = [&](std::uint64_t length, const std::string& fragment) {
    const std::string file = little_endian_bytes(length, 8) + "{}";
    check_malformed(directory, {std::to_string(length), "", fragment}, 0, file);
  };
  for (const std::uint64_t over : {1u, 2u, 7u, 8u, 9u}) check(0 - std::uint64_t{over}, "the limit");
  check(std::uint64_t{1} << 63, "longer than the limit");
  check(40'000'001, "longer than the limit of 40000000");
  check(40'000'000, "passes the end of the file (10 bytes)");
  check(3, "passes the end of the file (10 bytes)");
  for (std::size_t size = 1; size < 8; ++size) {
    check_malformed(directory, {"", "", "ends inside its header length"}, size,
                    std::string(size, '\0'));
  }
}

TEST_CASE("names from a safetensors file are escaped in errors") {
  const std::string name = R"(\u001b[31m\u202e\"\\)" + repeated("x", 1000);
  check_malformed({{"{\"" + name + "\":1}", "1", R"("\x1b[31m\xe2\x80\xae\"\\xxx)"},
                   {"{\"" + name + "\":{}}", "\"\\u001b", R"(xxx...": has no)"},
                   {"{\"~\x7f\":1}", "1", R"("~\x7f" must be an object)"}});
}

TEST_CASE("safetensors tensors of every float type are widened exactly, in the order of the data") {
  const TemporaryDirectory directory;
  const std::vector<float> f32 = {1.5f, -0.0f, std::numeric_limits<float>::denorm_min()};
  const std::string data = bytes_of(f32) + bytes_of<std::uint16_t>({0x3f80, 0xc000}) +
                           bytes_of<std::uint16_t>({0x3c00, 0x8001}) + bytes_of<double>({0.1}) +
                           "\1" + "\2\xff" + "\7" + bytes_of<float>({2.0f});
  const std::string header =
      "{" + entry("last", "F32", "[]", 32, 36) + R"(,"__metadata__":{"format":"pt","k":""},)" +
      entry("bf16", "BF16", "[2]", 12, 16) + " ,\n\t" + entry("f16", "F16", "[1,2]", 16, 20) + "," +
      entry("f32", "F32", "[3]", 0, 12) + "," + entry("f64", "F64", "[1]", 20, 28) + "," +
      entry("bool", "BOOL", "[1]", 28, 29) + "," + entry("f8", "F8_E4M3", "[2]", 29, 31) + "," +
      entry("a\\u0062", "U8", "[1,1,1]", 31, 32) + "," + entry("", "I64", "[3,0]", 12, 12) +
      "} \n\t\r ";
  const SafetensorsFile file(directory.write("all.safetensors", safetensors_bytes(header, data)));

  const std::vector<std::string> names = {"f32",  "",   "bf16", "f16", "f64",
                                          "bool", "f8", "ab",   "last"};
  REQUIRE(file.tensors().size() == names.size());
  for (std::size_t i = 0; i < names.size(); ++i) CHECK(file.tensors()[i].name == names[i]);

  CHECK(bytes_of(file.at("f32").copy_as_float()) == bytes_of(f32));
  CHECK(file.at("bf16").copy_as_float() == std::vector<float>{1.0f, -2.0f});
  CHECK(file.at("f16").copy_as_float() == std::vector<float>{1.0f, -0x1p-24f});
  CHECK(file.at("f64").copy_as_float() == std::vector<float>{0.1f});
  CHECK(file.at("ab").copy_scaled(std::vector{1.0f}) == std::vector<float>{7.0f});
  CHECK(file.at("last").copy_as_float() == std::vector<float>{2.0f});
  CHECK(file.at("").copy_scaled(std::vector{1.0f}).empty());
  CHECK(file.at("").shape == std::vector<std::int64_t>{3, 0});
  CHECK(file.at("last").shape.empty());
  CHECK(file.at("f8").dtype == DType::other);
}

TEST_CASE("integers, booleans and small floats are refused as floats, naming the type") {
  const TemporaryDirectory directory;
  for (const char* const type : {"I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL",
                                 "C64", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F4"}) {
    CAPTURE(type);
    for (const std::string shape : {"[2,4]", "[2,0]"}) {
      const std::string name = type;
      const std::size_t bits = name.ends_with("64")   ? 64
                               : name.ends_with("32") ? 32
                               : name.ends_with("16") ? 16
                               : name == "F4"         ? 4
                                                      : 8;
      const std::size_t bytes = shape == "[2,0]" ? 0 : bits;
      const SafetensorsFile file(directory.write(
          "a.safetensors", safetensors_bytes("{" + entry("a.weight", type, shape, 0, bytes) + "}",
                                             std::string(bytes, '\1'))));
      const FileTensor& tensor = file.at("a.weight");
      CHECK(sentence_of([&] { (void)tensor.copy_as_float(); }) ==
            "tensor \"a.weight\": " + name +
                " elements are not floating-point numbers: f64, f32, f16 and bf16 are read as they "
                "are, integers with their scale");
      const bool integer = name.starts_with('I') || name.starts_with('U');
      CHECK((sentence_of([&] { (void)tensor.copy_scaled(std::vector{1.0f}); }) == "") == integer);
    }
  }
}

TEST_CASE("integers of a file become floats with a scale for all of them or for each row") {
  const TemporaryDirectory directory;
  const auto eights = [&](const std::string& shape, std::size_t bytes) {
    return SafetensorsFile(directory.write(
        "a.safetensors", safetensors_bytes("{" + entry("a", "I8", shape, 0, bytes) + "}",
                                           std::string("\x7f\x80\xff\0\1\2", 6).substr(0, bytes))));
  };
  const SafetensorsFile file = eights("[2,3]", 6);
  const FileTensor& a = file.at("a");
  CHECK(a.copy_scaled(std::vector{0.5f}) == std::vector<float>{63.5f, -64, -0.5f, 0, 0.5f, 1});
  CHECK(a.copy_scaled(std::vector{2.0f, -1.0f}) == std::vector<float>{254, -256, -2, 0, -1, -2});
  for (const std::vector<float>& wrong : {std::vector<float>{}, std::vector<float>(3, 1.0f)}) {
    CHECK(sentence_of([&] { (void)a.copy_scaled(wrong); }).find("for the shape [2, 3]") !=
          std::string::npos);
  }
  const SafetensorsFile empty = eights("[0,3]", 0);
  CHECK(empty.at("a").copy_scaled({}).empty());
  const SafetensorsFile scalar = eights("[]", 1);
  CHECK(scalar.at("a").copy_scaled(std::vector{2.0f}) == std::vector<float>{254});
  const SafetensorsFile floats(directory.write(
      "f.safetensors",
      safetensors_bytes("{" + entry("f", "F32", "[1]", 0, 4) + "}", bytes_of<float>({1}))));
  CHECK(sentence_of([&] { (void)floats.at("f").copy_scaled(std::vector{1.0f}); }) ==
        "tensor \"f\": F32 elements are not integers, which a scale is for");
}

TEST_CASE("each dtype name of safetensors is stored with its own size") {
  struct Stored {
    std::string name;
    DType dtype;
    std::size_t bytes_of_eight;
  };
  const TemporaryDirectory directory;
  for (const Stored& stored :
       std::vector<Stored>{{"F64", DType::f64, 64},          {"F32", DType::f32, 32},
                           {"F16", DType::f16, 16},          {"BF16", DType::bf16, 16},
                           {"I64", DType::i64, 64},          {"I32", DType::i32, 32},
                           {"I16", DType::i16, 16},          {"I8", DType::i8, 8},
                           {"U64", DType::u64, 64},          {"U32", DType::u32, 32},
                           {"U16", DType::u16, 16},          {"U8", DType::u8, 8},
                           {"BOOL", DType::boolean, 8},      {"C64", DType::other, 64},
                           {"F8_E4M3", DType::other, 8},     {"F8_E5M2", DType::other, 8},
                           {"F8_E8M0", DType::other, 8},     {"F8_E4M3FNUZ", DType::other, 8},
                           {"F8_E5M2FNUZ", DType::other, 8}, {"F6_E2M3", DType::other, 6},
                           {"F6_E3M2", DType::other, 6},     {"F4", DType::other, 4}}) {
    CAPTURE(stored.name);
    const std::string header =
        "{" + entry("a", stored.name, "[2,4]", 0, stored.bytes_of_eight) + "}";
    const SafetensorsFile file(directory.write(
        "a.safetensors", safetensors_bytes(header, std::string(stored.bytes_of_eight, '\1'))));
    CHECK(file.at("a").dtype == stored.dtype);
    CHECK(file.at("a").nbytes == stored.bytes_of_eight);
    if (stored.dtype != DType::other) CHECK(dtype_size(stored.dtype) * 8 == stored.bytes_of_eight);
  }
}

TEST_CASE("a safetensors tensor at an odd address is copied but not viewed") {
  const TemporaryDirectory directory;
  const std::string data = "\7" + bytes_of<float>({1, 2, 3, 4, 5, 6});
  std::string header =
      "{" + entry("odd", "F32", "[2,3]", 1, 25) + "," + entry("a", "U8", "[1]", 0, 1) + "}";
  header.append(8 - header.size() % 8, ' ');
  const SafetensorsFile file(directory.write("odd.safetensors", safetensors_bytes(header, data)));
  const FileTensor& odd = file.at("odd");
  CHECK(odd.copy_as_float() == std::vector<float>{1, 2, 3, 4, 5, 6});
  const std::optional<Error> error = error_of([&] { odd.view<2>(); });
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::invalid_argument);
  CHECK(std::string(error->what()).find("\"odd\"") != std::string::npos);
}

TEST_CASE("a safetensors view has the file's shape and outlives a copy of the file object") {
  const TemporaryDirectory directory;
  std::string header = "{" + entry("a", "F32", "[2,3]", 0, 24) + "}";
  header.append(8 - header.size() % 8, ' ');
  const std::string path = directory.write(
      "a.safetensors", safetensors_bytes(header, bytes_of<float>({1, 2, 3, 4, 5, 6})));
  std::optional<SafetensorsFile> first(std::in_place, path);
  const SafetensorsFile copy = *first;
  const TensorView<const float, 2> view = copy.at("a").view<2>();
  first.reset();
  CHECK(view.shape == TensorView<const float, 2>::Index{2, 3});
  CHECK(view(1, 2) == 6.0f);
  CHECK(view(0, 1) == 2.0f);

  const std::optional<Error> rank = error_of([&] { copy.at("a").view<3>(); });
  REQUIRE(rank.has_value());
  CHECK(std::string(rank->what()).find("[2, 3] has rank 2, not 3") != std::string::npos);
  CHECK(copy.find("b") == nullptr);
  const std::optional<Error> missing = error_of([&] { copy.at("b"); });
  REQUIRE(missing.has_value());
  CHECK(missing->code() == ErrorCode::invalid_argument);
  CHECK(std::string(missing->what()).find("\"b\"") != std::string::npos);
  CHECK(std::string(missing->what()).find(path) != std::string::npos);
}

}  // namespace
}  // namespace rapt::test
