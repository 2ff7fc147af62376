// libFuzzer target: any bytes are a .safetensors file that loads and can be read whole, or an
// rapt::Error.
#include <cstdint>
#include <span>

#include "file_bytes.hpp"
#include "io/safetensors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(bytes), size);
    for (const rapt::FileTensor& tensor : rapt::io::parse_safetensors(file, "fuzz")) {
      rapt::test::read_whole(tensor);
    }
  } catch (const rapt::Error& error) {
    if (error.code() != rapt::ErrorCode::malformed_file) throw;
  }
  return 0;
}
