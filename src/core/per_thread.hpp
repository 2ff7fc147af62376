// An object that each thread keeps from call to call, without the destructor of a thread_local: it
// is usable at every stage of the end of the thread and of the process.
#pragma once

#include <new>
#include <type_traits>

namespace rapt::core {

/// The list of objects that a thread keeps. Freed at the thread's end by the destructor of a POSIX
/// key, which runs after the destructors of all thread_local objects, and again if destructors of
/// other keys made further calls. The main thread, and threads still running at exit(), are not
/// freed.
struct KeptByThread {
  virtual ~KeptByThread() = default;
  KeptByThread* next = nullptr;
};

/// Lets this thread free `kept` when it ends; null if its allocation failed. Throws
/// Error{out_of_memory}; `kept` is then freed.
void keep_for_thread(KeptByThread* kept);

/// Declared `constinit thread_local`: a null pointer at first, and nothing to destroy. (glibc ends
/// the process where it has no memory to register the destructor of a thread_local object.)
template <class T>
class PerThread {
  static_assert(std::is_nothrow_default_constructible_v<T>, "made where nothing may be thrown");

 public:
  /// This thread's object, made by its first call. Throws Error{out_of_memory}.
  T& get() {
    if (object_ == nullptr) [[unlikely]]
      make();
    return *object_;
  }

 private:
  struct Kept final : KeptByThread {
    explicit Kept(T** owner_) noexcept : owner(owner_) { *owner = &object; }
    ~Kept() override { *owner = nullptr; }
    T** owner;
    T object;
  };

  __attribute__((noinline)) void make() { keep_for_thread(new (std::nothrow) Kept(&object_)); }

  T* object_ = nullptr;
};

}  // namespace rapt::core
