// The score callback: the caller's own code gets each tile of scores inside the fused pass and may
// change it in place.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <type_traits>

namespace rapt {

/// A tile of scores of one query head: row r, column c is the score of query first_query + r with
/// key first_key + c, natural units, at scores[r * row_stride + c].
struct ScoreTile {
  float* scores = nullptr;
  std::int64_t row_stride = 0;
  std::int64_t rows = 0;
  std::int64_t columns = 0;
  std::int64_t first_query = 0;     ///< index into q's q_len
  std::int64_t first_position = 0;  ///< of that query: first_query + the mask's offset
  std::int64_t first_key = 0;       ///< index among the keys of the sequence
  std::int64_t head = 0;            ///< query head
  std::int64_t batch = 0;
};

/// A reference to a callable void(const ScoreTile&): two pointers, nothing is allocated or owned,
/// so the callable must outlive the call that it is given to. A lambda written in that call does.
///
/// It is called once per tile, from the threads of the call and from several of them at the same
/// time, after soft cap, bias and ALiBi and before the masks. What it leaves in the tile is the
/// score; -inf hides the key. It must not assume
///   - anything about tiles: their borders, number, order and how often each is passed differ by
///     instruction set, threads and data, and tiles that the range mask excludes are not passed at
///     all. So it must be pure: the new score of an element depends on its score, query, position,
///     key, head and batch and on nothing else. Then the bits of the result do not depend on tiles
///     either.
///   - anything about the scores of keys that the query does not see: those outside its range are
///     -inf, the others arbitrary. What it writes there is ignored.
/// It runs in the default floating-point mode, whatever mode the caller of attention() has set. An
/// exception that it throws reaches the caller of attention(): no further tile is computed, and the
/// outputs are unspecified. It must not call Rapt's attention on the thread that called it: that is
/// an Error{invalid_argument}.
class ScoreCallback {
 public:
  ScoreCallback() = default;

  template <class F>
  requires(!std::is_same_v<std::remove_cvref_t<F>, ScoreCallback> &&
           std::is_invocable_v<F&, const ScoreTile&>) ScoreCallback(F&& f)
  noexcept {  // NOLINT(google-explicit-constructor): a view of the argument
    using Callable = std::remove_reference_t<F>;
    if constexpr (std::is_function_v<Callable>) {
      function_ = reinterpret_cast<void (*)()>(&f);
      call_ = [](const ScoreCallback& self, const ScoreTile& tile) {
        std::invoke(reinterpret_cast<Callable*>(self.function_), tile);
      };
    } else {
      object_ = const_cast<void*>(static_cast<const void*>(std::addressof(f)));
      call_ = [](const ScoreCallback& self, const ScoreTile& tile) {
        std::invoke(*static_cast<Callable*>(self.object_), tile);
      };
    }
  }

  explicit operator bool() const noexcept { return call_ != nullptr; }
  void operator()(const ScoreTile& tile) const { call_(*this, tile); }

 private:
  using Call = void (*)(const ScoreCallback&, const ScoreTile&);
  Call call_ = nullptr;
  union {
    void* object_ = nullptr;
    void (*function_)();
  };
};

}  // namespace rapt
