// .npy: written tensors are read back, every type is widened, every malformed file is an error.
#include "formats/file_bytes.hpp"
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <type_traits>

namespace rapt::test {
namespace {

std::string dict(const std::string& descr, const std::string& shape) {
  return "{'descr': '" + descr + "', 'fortran_order': False, 'shape': " + shape + ", }";
}

struct Malformed {
  std::string file;
  std::size_t offset;
  std::string fragment;  ///< part of the sentence
};

/// A file of four f32 whose header is `text`; the error is at the last occurrence of `at` in the
/// header.
Malformed with_dict(const std::string& text, const std::string& at, const std::string& fragment) {
  return {npy_bytes(text, std::string(16, '\1')), 10 + (text + "\n").rfind(at), fragment};
}
Malformed with_shape(const std::string& shape, const std::string& at, const std::string& fragment) {
  return with_dict("{'fortran_order': False, 'descr': '<f4', 'shape': " + shape + "}", at,
                   fragment);
}
Malformed with_descr(const std::string& descr, const std::string& fragment) {
  return with_dict(dict(descr, "(4,)"), "'" + descr, fragment);
}

void check_malformed(const std::vector<Malformed>& all) {
  const TemporaryDirectory directory;
  for (const Malformed& malformed : all) {
    CAPTURE(malformed.file);
    const std::string path = directory.write("malformed.npy", malformed.file);
    const std::optional<Error> error = error_of([&] { NpyFile(std::string(path)); });
    REQUIRE(error.has_value());
    CHECK(error->code() == ErrorCode::malformed_file);
    const std::string sentence = error->what();
    CAPTURE(sentence);
    CHECK(sentence.starts_with(path + ": byte " + std::to_string(malformed.offset) + ": "));
    CHECK(sentence.find(malformed.fragment) != std::string::npos);
  }
}

TEST_CASE("an npy file whose magic, version or length is wrong is an error at its byte") {
  const std::string valid = npy_bytes(dict("<f4", "(4,)"), std::string(16, '\1'));
  const auto changed = [&valid](std::size_t at, const std::string& bytes) {
    std::string file = valid;
    return file.replace(at, bytes.size(), bytes);
  };
  using namespace std::string_literals;
  check_malformed({
      {changed(0, "\x92"), 0, "not a .npy file"},
      {changed(5, "Z"), 0, "not a .npy file"},
      {"PK\3\4", 0, "not a .npy file"},
      {changed(6, "\0"s), 6, "version 0.0"},
      {changed(6, "\4"), 6, "version 4.0"},
      {changed(6, "\xff"), 6, "version 255.0"},
      {changed(7, "\1"), 6, "version 1.1"},
      {changed(8, "\xff\xff"), 8, "65535 bytes passes the end"},
      {changed(8, little_endian_bytes(valid.size() - 9, 2)), 8, "passes the end"},
      {changed(8, "\0\0"s), 10, "the header's end"},
      {changed(6, "\2"), 8, "passes the end"},
      {"\x93NUMPY\2\0\xff\xff\xff\xff"s, 8, "4294967295 bytes passes the end"},
      {"\x93NUMPY\2\0\xff\xff"s, 10, "ends inside its header length"},
      {"\x93NUMPY\1"s, 7, "ends inside its version"},
  });
}

TEST_CASE("an npy header that NumPy would not write is an error at its byte") {
  const std::string valid = dict("<f4", "(4,)");
  std::string rank65 = "(4";
  for (int i = 0; i < 64; ++i) rank65 += ", 1";
  check_malformed({
      with_dict("", "\n", "expected the header's dict"),
      with_dict("[" + valid + "]", "[", "expected the header's dict"),
      with_dict("{}", "\n", "no key \"descr\""),
      with_dict("{'descr': '<f4', 'shape': (4,)}", "\n", "no key \"fortran_order\""),
      with_dict("{'descr': '<f4', 'fortran_order': False}", "\n", "no key \"shape\""),
      with_dict("{'fortran_order': False, 'shape': (4,)}", "\n", "no key \"descr\""),
      with_dict("{'descr': '<f4', 'descr': '<f4'}", "'descr", "\"descr\" stands twice"),
      with_dict("{'dtype': '<f4'}", "'dtype", "unknown key \"dtype\""),
      with_dict("{descr: '<f4'}", "descr", "expected a key in quotes"),
      with_dict("{'descr", "'descr", "does not end"),
      with_dict("{'descr' '<f4'}", "'<f4", "expected ':'"),
      with_dict("{'descr': '<f4' 'shape': (4,)}", "'shape", "expected ',' or '}'"),
      with_dict("{'descr': '<f4', , }", ", }", "expected a key in quotes"),
      with_dict(valid + "x", "x", "must end the header, found \"x"),
      with_dict(valid + "\n", "\n\n", "must end the header"),
      with_dict(valid + "\t", "\t", "must end the header"),
      with_dict(valid.substr(0, valid.size() - 1), "\n", "expected a key"),
      with_dict("{'fortran_order': 0}", "0", "must be True or False"),
      with_dict("{'fortran_order': true}", "true", "must be True or False"),
      with_dict("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2)}", "True", "Fortran"),
      with_descr(">f4", "big-endian data is refused: descr \">f4\""),
      with_descr("|O", "object arrays are refused"),
      with_descr("|V8", "\"|V8\" is not a type"),
      with_descr("<c8", "\"<c8\" is not a type"),
      with_descr("<f16", "\"<f16\" is not a type"),
      with_descr("f4", "\"f4\" is not a type"),
      with_dict(dict("", "(4,)"), "''", "\"\" is not a type"),
      with_descr("\x1b[31m", "\"\\x1b[31m\" is not a type"),
      with_dict("{'descr': [('a', '<f4')]}", "[", "structured types are refused"),
      with_dict("{'descr': ('<f4', (2,))}", "('<", "structured types are refused"),
      with_shape("(4)", ")", "needs a comma, found \")"),
      with_shape("4", "4}", "expected the shape's '('"),
      with_shape("[4]", "[4", "expected the shape's '('"),
      with_shape("(2 2)", "2)", "needs a comma"),
      with_shape("(2, 2 1)", "1)", "expected ',' or ')' in the shape"),
      with_shape("(,)", ",)", "expected an extent"),
      with_shape("(-4,)", "-4", "expected an extent"),
      with_shape("(+4,)", "+4", "expected an extent"),
      with_shape("(4.0,)", ".0", "needs a comma"),
      with_shape("(04,)", "04", "starts with 0"),
      with_shape("(4", "}", "needs a comma"),
      with_shape("(4,", "}", "expected an extent"),
      with_shape("(9223372036854775808,)", "9223372036854775808", "reaches 2^63"),
      with_shape("(99999999999999999999,)", "99999999999999999999", "reaches 2^63"),
      with_shape(rank65 + ")", "1)}", "more than 64 dimensions"),
      with_shape("(4194305, 4194305, 211106198978564)", "{", "overflows"),
      with_shape("(4294967296, 4294967296, 0)", "{", "overflows"),
      with_shape("(4611686018427387904,)", "{", "overflows"),
  });
}

TEST_CASE("npy data that is shorter or longer than its shape is an error at its byte") {
  const std::string start = npy_bytes(dict("<f4", "(4,)"), "");
  check_malformed({
      {start, start.size(), "ends after 0 of 16 data bytes"},
      {start + std::string(15, '\1'), start.size() + 15, "ends after 15 of 16 data bytes"},
      {start + std::string(17, '\1'), start.size() + 16,
       "the file goes on for 1 byte after the data"},
      {npy_bytes(dict("<f4", "(0,)"), "x"), npy_bytes(dict("<f4", "(0,)"), "").size(), "after"},
      {npy_bytes(dict("<f4", "(9223372036854775807, 0)"), "x"),
       npy_bytes(dict("<f4", "(9223372036854775807, 0)"), "").size(), "goes on for 1 byte after"},
  });
}

TEST_CASE("a tensor written as npy is read back with its shape and bits") {
  const TemporaryDirectory directory;
  const std::string path = directory.path("a.npy");
  for (const std::vector<std::int64_t>& shape : std::vector<std::vector<std::int64_t>>{
           {}, {0}, {1}, {7}, {2, 3}, {4, 0, 5}, {2, 1, 3}, {1, 2, 3, 4}, {2, 1, 2, 1, 2}}) {
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    std::vector<float> values(count);
    std::iota(values.begin(), values.end(), -1.5f);
    if (count > 2) values[2] = std::numeric_limits<float>::quiet_NaN();
    write_npy(path, values.data(), shape);
    const NpyFile file(path);
    CHECK(file.tensor().dtype == DType::f32);
    CHECK(file.tensor().shape == shape);
    CHECK(bytes_of(file.tensor().copy_as_float()) == bytes_of(values));
    CHECK(reinterpret_cast<std::uintptr_t>(file.tensor().data) % 64 == 0);
    if (shape.size() == 5) CHECK(file.tensor().view<5>()(1, 0, 1, 0, 0) == values[6]);
  }
}

TEST_CASE("a written npy file has the bytes that NumPy writes") {
  const TemporaryDirectory directory;
  const auto check = [&directory](const std::vector<std::int64_t>& shape, const std::string& text) {
    const std::vector<float> values(3, 1.0f);
    write_npy(directory.path("a.npy"), values.data(), shape);
    std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': " + text + ", }";
    header.resize(117, ' ');
    CHECK(read_file(directory.path("a.npy")) == npy_bytes(header, bytes_of(values)));
  };
  check({3}, "(3,)");
  check({1, 3}, "(1, 3)");
  check({3, 1, 1}, "(3, 1, 1)");
}

TEST_CASE("an npy header that ends where data may begin is written without a line of spaces") {
  const TemporaryDirectory directory;
  const std::vector<float> values(100, 1.0f);
  std::vector<std::int64_t> shape(21, 1);  // a header of 127 bytes
  for (const std::size_t line : {std::size_t{128}, std::size_t{128}, std::size_t{192}}) {
    write_npy(directory.path("a.npy"), values.data(), shape);
    std::size_t count = 1;
    for (const std::int64_t extent : shape) count *= static_cast<std::size_t>(extent);
    CHECK(read_file(directory.path("a.npy")).size() == line + 4 * count);
    *std::find(shape.begin(), shape.end(), 1) = 10;  // one byte more
  }
}

TEST_CASE("npy versions 1 to 3, both quotes and any order of keys are read") {
  const TemporaryDirectory directory;
  const std::string data = bytes_of<float>({1, 2, 3, 4});
  const std::vector<std::string> files = {
      npy_bytes(dict("<f4", "(4,)"), data, 1), npy_bytes(dict("<f4", "(4,)"), data, 2),
      npy_bytes(dict("<f4", "(4,)"), data, 3),
      npy_bytes("{\"shape\":(4,),\"fortran_order\":False,\"descr\":\"<f4\"}    ", data),
      npy_bytes("{ 'shape' : ( 4 , ) , 'descr' : '<f4' , 'fortran_order' : True }", data)};
  for (const std::string& bytes : files) {
    CAPTURE(bytes);
    const NpyFile file(directory.write("a.npy", bytes));
    CHECK(file.tensor().shape == std::vector<std::int64_t>{4});
    CHECK(file.tensor().copy_as_float() == std::vector<float>{1, 2, 3, 4});
  }
}

template <class T>
void check_type(const TemporaryDirectory& directory, const std::string& descr, DType dtype) {
  CAPTURE(descr);
  const std::vector<T> values = {T{0}, T{1}, static_cast<T>(100), std::numeric_limits<T>::max(),
                                 std::numeric_limits<T>::lowest()};
  std::vector<float> floats;
  for (const T value : values) floats.push_back(static_cast<float>(value));
  const NpyFile file(directory.write("a.npy", npy_bytes(dict(descr, "(5,)"), bytes_of(values))));
  CHECK(file.tensor().dtype == dtype);
  CHECK(file.tensor().nbytes == 5 * dtype_size(dtype));
  if constexpr (std::is_integral_v<T>) {
    CHECK(file.tensor().copy_scaled(std::vector{1.0f}) == floats);
    CHECK(sentence_of([&] {
            (void)file.tensor().copy_as_float();
          }).starts_with("the tensor: " + std::string(dtype_name(dtype)) + " elements are not"));
  } else {
    CHECK(file.tensor().copy_as_float() == floats);
  }
  if (dtype == DType::f32) return;
  const std::optional<Error> error = error_of([&] { file.tensor().view<1>(); });
  REQUIRE(error.has_value());
  CHECK(std::string(error->what()).find(dtype_name(dtype)) != std::string::npos);
}

TEST_CASE("every npy type is converted to float with one rounding") {
  const TemporaryDirectory directory;
  check_type<double>(directory, "<f8", DType::f64);
  check_type<float>(directory, "<f4", DType::f32);
  check_type<std::int64_t>(directory, "<i8", DType::i64);
  check_type<std::int32_t>(directory, "<i4", DType::i32);
  check_type<std::int16_t>(directory, "<i2", DType::i16);
  check_type<std::int8_t>(directory, "|i1", DType::i8);
  check_type<std::uint64_t>(directory, "<u8", DType::u64);
  check_type<std::uint32_t>(directory, "<u4", DType::u32);
  check_type<std::uint16_t>(directory, "<u2", DType::u16);
  check_type<std::uint8_t>(directory, "|u1", DType::u8);
  // 2^24 + 1 is halfway and rounds to the even neighbour; 2^24 + 3 rounds up.
  const std::vector<std::int32_t> halfway = {16777217, 16777219};
  const NpyFile file(directory.write("a.npy", npy_bytes(dict("<i4", "(2,)"), bytes_of(halfway))));
  CHECK(file.tensor().copy_scaled(std::vector{1.0f}) ==
        std::vector<float>{16777216.0f, 16777220.0f});
}

TEST_CASE("an npy boolean is refused as a float, with a scale or without") {
  const TemporaryDirectory directory;
  const std::string data = {'\0', '\1', '\2', '\xff'};
  const NpyFile file(directory.write("a.npy", npy_bytes(dict("|b1", "(2, 2)"), data)));
  CHECK(file.tensor().dtype == DType::boolean);
  CHECK(sentence_of([&] {
          (void)file.tensor().copy_as_float();
        }).starts_with("the tensor: boolean elements are not floating-point numbers"));
  CHECK(sentence_of([&] { (void)file.tensor().copy_scaled(std::vector{1.0f}); }) ==
        "the tensor: boolean elements are not integers, which a scale is for");
}

TEST_CASE("every f16 value is widened to exactly its own value") {
  const TemporaryDirectory directory;
  std::vector<std::uint16_t> halves(65536);
  std::iota(halves.begin(), halves.end(), std::uint16_t{0});
  const NpyFile file(
      directory.write("a.npy", npy_bytes(dict("<f2", "(65536,)"), bytes_of(halves))));
  CHECK(file.tensor().dtype == DType::f16);
  const std::vector<float> floats = file.tensor().copy_as_float();
  int wrong = 0;
  for (int bits = 0; bits < 65536; ++bits) {
    const int exponent = bits >> 10 & 31;
    const int fraction = bits & 1023;
    double value =
        exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
    if (exponent == 31) value = fraction == 0 ? INFINITY : NAN;
    const float found = floats[static_cast<std::size_t>(bits)];
    const bool same = std::isnan(value) ? std::isnan(found) : std::fabs(found) == value;
    if (!same || std::signbit(found) != (bits >= 32768)) ++wrong;
  }
  CHECK(wrong == 0);
}

}  // namespace
}  // namespace rapt::test
