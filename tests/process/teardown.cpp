// Calls at every stage of the end of threads and of the process: each function gives the same bits
// as in main. Otherwise, or if a stage did not run, the exit status is an error.
//   teardown return          main returns
//   teardown pthread_exit    the main thread ends before the process
#include "process/entry_points.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <pthread.h>
#include <string_view>
#include <thread>
#include <unistd.h>

namespace rapt::test {
namespace {

const std::vector<std::vector<float>>* results_of_main = nullptr;
std::atomic<int> stages = 0;

/// Makes the calls of a stage. Ends the process at once if a result is wrong.
void run_stage(const char* stage) {
  if (results_of_main == nullptr) return;  // a thread that ends before main made its calls
  ++stages;
  if (const char* const wrong = first_wrong_entry_point(*results_of_main)) {
    std::fprintf(stderr, "%s: the bits of %s differ\n", stage, wrong);
    _exit(3);
  }
}

/// Makes the calls when it is destroyed.
struct AtEnd {
  const char* stage;
  ~AtEnd() { run_stage(stage); }
};

/// A thread that makes calls, or none, before its own objects and keys make calls at its end.
void run_thread(bool calls_before, pthread_key_t early, pthread_key_t late) {
  std::thread([=] {
    thread_local const AtEnd of_thread{"thread_local object of a thread"};
    if (of_thread.stage == nullptr) return;  // makes it
    pthread_setspecific(early, "destructor of a key made before the first call");
    pthread_setspecific(late, "destructor of a key made after the first call");
    if (calls_before) run_stage("thread");
  }).join();
}

/// Constructed before the first call, so destroyed after all objects that calls create.
void end_of_main_thread() {
  thread_local const AtEnd first{"thread_local object of main"};
  thread_local const AtEnd second{"another thread_local object of main"};
  if (first.stage == second.stage) _exit(4);
}

pthread_key_t key_that_calls() {
  pthread_key_t key = 0;
  if (pthread_key_create(&key, [](void* stage) { run_stage(static_cast<const char*>(stage)); })) {
    _exit(4);
  }
  return key;
}

AtEnd& early_function_static() {
  static AtEnd object{"function's static object made before the first call"};
  return object;
}

// Constructed before all objects that calls create, so destroyed after them.
const AtEnd before_calls{"static object made before the first call"};

// Runs after all static objects are destroyed, including oneTBB's; the last stage.
__attribute__((destructor)) void after_static_objects() {
  run_stage("function that the linker runs at the end");
  constexpr int kStages = 15;  // of main's thread two: its objects or its keys
  if (results_of_main == nullptr || stages == kStages) return;
  std::fprintf(stderr, "%d stages ran, not %d\n", stages.load(), kStages);
  _exit(5);
}

}  // namespace
}  // namespace rapt::test

int main(int argc, char** argv) {
  using namespace rapt::test;
  const std::string_view end = argc == 2 ? argv[1] : "";
  if (end != "return" && end != "pthread_exit") return 2;
  std::atexit([] { run_stage("atexit before the first call"); });
  early_function_static();
  const pthread_key_t early = key_that_calls();
  // Then any thread may be the last one, which calls exit().
  const bool by_pthread_exit = end == "pthread_exit";
  if (!by_pthread_exit) end_of_main_thread();

  auto* const results = new std::vector<std::vector<float>>(entry_points().size());
  for (std::size_t i = 0; i < results->size(); ++i) entry_points()[i].call((*results)[i]);
  results_of_main = results;

  const pthread_key_t late = key_that_calls();
  static const AtEnd after_calls{"static object made after the first call"};
  std::atexit([] { run_stage("atexit after the first call"); });
  run_thread(true, early, late);
  run_thread(false, early, late);

  pthread_setspecific(early, "main's value of a key made before the first call");
  pthread_setspecific(late, "main's value of a key made after the first call");
  if (by_pthread_exit) pthread_exit(nullptr);
  return 0;  // calls no destructors of keys
}
