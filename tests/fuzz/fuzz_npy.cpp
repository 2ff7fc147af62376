// libFuzzer target: any bytes are a .npy file that loads, satisfies the format's rules and can be
// read completely, or an rapt::Error.
#include "formats/file_bytes.hpp"
#include "formats/file_rules.hpp"
#include "formats/npy.hpp"

#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(bytes), size);
    const rapt::FileTensor tensor = rapt::io::parse_npy(file, "fuzz");
    if (!rapt::test::keeps_rules(tensor, file)) std::abort();
    rapt::test::read_whole(tensor);
  } catch (const rapt::Error& error) {
    if (error.code() != rapt::ErrorCode::malformed_file) throw;
  }
  return 0;
}
