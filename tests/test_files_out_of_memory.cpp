// Each allocation of opening a file fails once: an Error{out_of_memory}, and nothing is left
// behind.
#include <doctest/doctest.h>

#include <functional>

#include "allocation_hooks.hpp"
#include "file_bytes.hpp"
#include "temporary_directory.hpp"

namespace rapt::test {
namespace {

enum class End { success, out_of_memory, other_error, no_error_of_ours };

End end_of(const std::function<void()>& call) {
  try {
    call();
    return End::success;
  } catch (const Error& error) {
    return error.code() == ErrorCode::out_of_memory ? End::out_of_memory : End::other_error;
  } catch (...) {
    return End::no_error_of_ours;
  }
}

/// `call` ends as it does with memory enough, unless one of its allocations fails.
void fail_each_allocation(const std::function<void()>& call) {
  const std::int64_t first = allocations;
  const End usual = end_of(call);
  const std::int64_t count = allocations - first;
  REQUIRE(count > 1);
  for (std::int64_t n = 1; n <= count; ++n) {
    CAPTURE(n);
    const std::int64_t before = live_allocations;
    fail_allocation(n);
    const End end = end_of(call);
    fail_allocation(0);
    CHECK(end == End::out_of_memory);
    CHECK(live_allocations == before);
  }
  CHECK(end_of(call) == usual);
}

TEST_CASE("an allocation that fails in opening a file is an error, and nothing is left behind") {
  const TemporaryDirectory directory;
  // Names and values of more than 15 bytes: shorter ones need no allocation.
  const std::string header =
      R"({"__metadata__":{"a key of metadata":"a value of metadata"},)"
      R"("a tensor of that file":{"dtype":"F32","shape":[2,1],"data_offsets":[8,16]},)"
      R"("another tensor of it":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})";
  const std::string data(16, '\0');
  const std::string weights = directory.write("a.safetensors", safetensors_bytes(header, data));
  const std::string cut = directory.write("cut.safetensors", safetensors_bytes(header, "1234567"));
  const std::string dict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 2), }";
  const std::string array = directory.write("a.npy", npy_bytes(dict, data));
  const std::string cut_array = directory.write("cut.npy", npy_bytes(dict, "1234567"));

  fail_each_allocation([&] { SafetensorsFile{weights}; });
  fail_each_allocation([&] { SafetensorsFile{cut}; });
  fail_each_allocation([&, missing = directory.path("missing")] { SafetensorsFile{missing}; });
  fail_each_allocation([&] { NpyFile{array}; });
  fail_each_allocation([&] { NpyFile{cut_array}; });

  const SafetensorsFile file(weights);
  fail_each_allocation([&] { file.at("no tensor of that name"); });
}

}  // namespace
}  // namespace rapt::test
