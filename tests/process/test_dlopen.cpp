// Loads and closes the library 100 times, with a call each time: it works, and memory does not
// grow, although the oneTBB threads that served the calls survive.
//   test_dlopen MODULE
#include <cstdio>
#include <dlfcn.h>
#include <malloc.h>
#include <semaphore>
#include <thread>
#include <unistd.h>

namespace {

/// Resident pages of this process.
long resident_pages() {
  long size = 0, resident = 0;
  std::FILE* file = std::fopen("/proc/self/statm", "r");
  if (file == nullptr) return 0;
  if (std::fscanf(file, "%ld %ld", &size, &resident) != 2) resident = 0;
  std::fclose(file);
  return resident;
}

/// One call on a separate thread, which ends before or after the library is closed and frees its
/// workspace.
bool load_and_call(const char* module, bool outlives_library) {
  void* const library = dlopen(module, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return false;
  }
  float mean = 0.0f;
  std::binary_semaphore called{0}, may_end{0};
  std::thread caller([&] {
    mean = reinterpret_cast<float (*)()>(dlsym(library, "mean_by_attention"))();
    called.release();
    may_end.acquire();
  });
  called.acquire();
  const auto end_thread = [&] {
    may_end.release();
    caller.join();
  };
  if (!outlives_library) end_thread();
  const bool closed = dlclose(library) == 0;
  if (outlives_library) end_thread();
  return closed && mean == 149.5f;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  // Otherwise each thread may use another heap, and free memory in them varies.
  mallopt(M_ARENA_MAX, 1);
  constexpr int kWarm = 20, kTimes = 100;
  long before = 0;
  for (int n = 0; n < kTimes; ++n) {
    if (n == kWarm) before = resident_pages();
    if (!load_and_call(argv[1], n % 2 == 0)) {
      std::fprintf(stderr, "call %d failed\n", n);
      return 1;
    }
  }
  const long grown = (resident_pages() - before) * sysconf(_SC_PAGESIZE);
  std::printf("grown by %ld bytes in %d loads\n", grown, kTimes - kWarm);
  return grown < 2 * 1024 * 1024 ? 0 : 1;
}
