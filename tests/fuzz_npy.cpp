// libFuzzer target: any bytes are a .npy file that loads and can be read whole, or an rapt::Error.
#include <cstdint>
#include <span>

#include "file_bytes.hpp"
#include "io/npy.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(bytes), size);
    rapt::test::read_whole(rapt::io::parse_npy(file, "fuzz"));
  } catch (const rapt::Error& error) {
    if (error.code() != rapt::ErrorCode::malformed_file) throw;
  }
  return 0;
}
