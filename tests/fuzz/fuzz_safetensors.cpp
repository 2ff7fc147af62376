// libFuzzer target: any bytes are a .safetensors file that loads, satisfies the format's rules and
// can be read completely, or an rapt::Error.
#include "formats/file_bytes.hpp"
#include "formats/file_rules.hpp"
#include "formats/safetensors.hpp"

#include <cstdint>
#include <cstdlib>
#include <span>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  try {
    const std::span<const std::byte> file(reinterpret_cast<const std::byte*>(bytes), size);
    const std::vector<rapt::FileTensor> tensors = rapt::io::parse_safetensors(file, "fuzz");
    if (!rapt::test::keeps_rules(tensors, file)) std::abort();
    for (const rapt::FileTensor& tensor : tensors) rapt::test::read_whole(tensor);
  } catch (const rapt::Error& error) {
    if (error.code() != rapt::ErrorCode::malformed_file) throw;
  }
  return 0;
}
