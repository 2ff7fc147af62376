#include "core/per_thread.hpp"

#include "rapt/error.hpp"

#include <memory>
#include <pthread.h>

namespace rapt::core {
namespace {

[[noreturn]] void fail() {
  throw Error(ErrorCode::out_of_memory,
              SentenceLiteral("workspace: no memory for what a thread keeps"));
}

/// This thread's list; the key's value is the same while there is one.
constinit thread_local KeptByThread* first = nullptr;

void free_list(void*) {
  while (first != nullptr) {
    KeptByThread* const kept = first;
    first = kept->next;
    delete kept;
  }
}

/// One key for all lists, never deleted: threads may outlive every static object.
pthread_key_t key() {
  static const pthread_key_t made = [] {
    pthread_key_t new_key{};
    if (pthread_key_create(&new_key, free_list) != 0) fail();
    return new_key;
  }();
  return made;
}

}  // namespace

void keep_for_thread(KeptByThread* kept) {
  std::unique_ptr<KeptByThread> owned(kept);
  if (owned == nullptr) fail();
  if (pthread_setspecific(key(), owned.get()) != 0) fail();
  owned->next = first;
  first = owned.release();
}

}  // namespace rapt::core
