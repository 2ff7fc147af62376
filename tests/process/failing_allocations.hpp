// Fails each allocation of a call in turn, alone or with all later ones.
#pragma once

#include "process/allocation_hooks.hpp"
#include "rapt/error.hpp"
#include "support/arena.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <pthread.h>
#include <string>
#include <thread>

namespace rapt::test {

using Call = std::function<void()>;

// A thread's values of the first 32 POSIX keys need no memory; use up those keys, so that the
// library's key is a later one.
inline const bool kKeysAreTaken = [] {
  pthread_key_t key{};
  for (int i = 0; i < 40; ++i) pthread_key_create(&key, nullptr);
  return true;
}();

/// The outcome of a call.
struct End {
  bool threw_error = false, out_of_memory = false, threw_other = false;
};

inline End end_of(const Call& call) {
  try {
    call();
    return {};
  } catch (const Error& error) {
    return {true, error.code() == ErrorCode::out_of_memory, false};
  } catch (...) {
    return {false, false, true};
  }
}

/// Runs `work` on a new thread, which has no workspace yet, without other threads.
inline void alone(const Call& work) {
  std::thread([&] { in_arena(1, work); }).join();
}

/// prepare() creates what the call needs, without failures, and returns the call.
inline void fail_every_allocation(const std::string& name, const std::function<Call()>& prepare) {
  REQUIRE(kKeysAreTaken);
  bool mistaken = false;
  const auto once = [&] { mistaken = end_of(prepare()).threw_error; };
  alone(once);  // allocations made once per program
  alone(once);
  for (void (*const fail)(std::int64_t) : {fail_allocation, fail_allocations_from}) {
    bool failed = true;
    for (std::int64_t n = 1; failed; ++n) {
      CAPTURE(name);
      CAPTURE(n);
      CAPTURE(fail == fail_allocation);
      REQUIRE(n < 400);
      End end, again;
      const std::int64_t live = live_allocations, failures = failed_allocations;
      alone([&] {
        const Call call = prepare();
        fail(n);
        end = end_of(call);
        fail_allocation(0);
        if (end.out_of_memory) again = end_of(call);
      });
      failed = failed_allocations != failures;
      CHECK(!end.threw_other);
      CHECK((end.out_of_memory || end.threw_error == mistaken));
      CHECK((failed || !end.out_of_memory));
      if (end.out_of_memory) CHECK(again.threw_error == mistaken);
      CHECK(!again.out_of_memory);
      CHECK(live_allocations == live);
    }
  }
}

/// A case of a call that needs no object of its own.
inline std::function<Call()> plain(const Call& call) {
  return [call] { return call; };
}

}  // namespace rapt::test
