// Tensors of a file in place, in their own type.
#include "formats/file_bytes.hpp"
#include "rapt/rapt.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <string>

namespace rapt::test {
namespace {

std::string entry(const char* name, const char* dtype, const char* shape, int begin, int end) {
  return std::string("\"") + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape +
         ",\"data_offsets\":[" + std::to_string(begin) + "," + std::to_string(end) + "]}";
}

/// An f32 tensor, one of each 16-bit type, a byte, and a bf16 tensor at an odd address.
SafetensorsFile open_file(const TemporaryDirectory& directory) {
  std::string header =
      "{" + entry("f32", "F32", "[2]", 0, 8) + "," + entry("bf16", "BF16", "[2,2]", 8, 16) + "," +
      entry("f16", "F16", "[1,2]", 16, 20) + "," + entry("u8", "U8", "[1]", 20, 21) + "," +
      entry("odd", "BF16", "[1]", 21, 23) + "}";
  header.append(8 - header.size() % 8, ' ');
  const std::string data =
      bytes_of<float>({1.5f, -2.0f}) + bytes_of<std::uint16_t>({0x3f80, 0xc000, 0x7fc1, 1}) +
      bytes_of<std::uint16_t>({0x3c00, 0x8001}) + "\1" + bytes_of<std::uint16_t>({0x4000});
  return SafetensorsFile(directory.write("typed.safetensors", safetensors_bytes(header, data)));
}

TEST_CASE("a typed view has the file's type, its shape and its elements in place") {
  const TemporaryDirectory directory;
  const SafetensorsFile file = open_file(directory);
  for (const char* const name : {"f32", "bf16", "f16"}) {
    CAPTURE(name);
    const FileTensor& tensor = file.at(name);
    const auto check = [&](const auto& view) {
      CHECK(view.data == tensor.data);
      CHECK(view.dtype == tensor.dtype);
      CHECK(std::vector<std::int64_t>(view.shape.begin(), view.shape.end()) == tensor.shape);
      CHECK(view.strides.back() == 1);
    };
    if (tensor.shape.size() == 1) check(tensor.typed_view<1>());
    if (tensor.shape.size() == 2) check(tensor.typed_view<2>());
  }
  const auto bf16 = file.at("bf16").typed_view<2>().as<const bfloat16>();
  CHECK(static_cast<float>(bf16(0, 1)) == -2.0f);
  CHECK(bf16(1, 0).bits == 0x7fc1);
}

TEST_CASE("a typed view of another type, rank or address is an error that says so") {
  const TemporaryDirectory directory;
  const SafetensorsFile file = open_file(directory);
  CHECK(sentence_of([&] { (void)file.at("u8").typed_view<1>(); }) ==
        "tensor \"u8\": type U8 is none of f32, bf16 and f16");
  CHECK(sentence_of([&] { (void)file.at("bf16").typed_view<3>(); }) ==
        "tensor \"bf16\": shape [2, 2] has rank 2, not 3");
  CHECK(sentence_of([&] { (void)file.at("odd").typed_view<1>(); }) ==
        "tensor \"odd\": the data lies 1 byte past an address that is aligned for bf16; "
        "copy_as_float reads it");
  CHECK(file.at("odd").copy_as_float() == std::vector<float>{2.0f});
  CHECK(sentence_of([&] { (void)file.at("bf16").view<2>(); }) ==
        "tensor \"bf16\": type BF16 cannot be viewed as f32");
}

}  // namespace
}  // namespace rapt::test
