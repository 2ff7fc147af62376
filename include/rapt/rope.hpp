// Rotary position embedding (RoPE): tables of cos and sin, the rotation on its own, and the options
// with which attention() rotates queries and keys.
#pragma once

#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstdint>
#include <memory>
#include <optional>

namespace rapt {

/// Which components form the pair that is rotated by one angle. There is no default: models
/// disagree.
enum class Rope {
  half,         ///< (d, d + rotary_dims / 2): GPT-NeoX, Llama as Hugging Face stores it, Qwen
  interleaved,  ///< (2 d, 2 d + 1): GPT-J, Llama as Meta stores it, DeepSeek
};

/// How a model that was trained on short texts scales its angles. The angle of pair d at
/// position p is p * frequency_d, with frequency_d = base^(-2 d / rotary_dims) unless:
struct RopeScaling {
  enum class Kind {
    none,
    /// frequency_d / factor. Source: Chen et al., "Extending Context Window ... via Positional
    /// Interpolation", 2023.
    linear,
    /// base * factor^(rotary_dims / (rotary_dims - 2)) in place of base ("NTK-aware", bloc97,
    /// 2023).
    ntk,
    /// frequency_d / factor for pairs that turn less than beta_slow times over original_positions,
    /// frequency_d for those that turn more than beta_fast times, and in between a ramp over d
    /// whose ends are rounded to whole pairs unless truncate is false; cos and sin are multiplied
    /// by attention_factor. Source: Peng et al., "YaRN", 2023; ends as in its published code.
    yarn,
    /// With t = original_positions * frequency_d / (2 pi), the turns: frequency_d / factor for t <
    /// low_freq_factor, frequency_d for t > high_freq_factor, else (1 - s) * frequency_d / factor +
    /// s * frequency_d, s = (t - low_freq_factor) / (high_freq_factor - low_freq_factor). Source:
    /// Llama 3.1, 2024.
    llama3,
  };

  Kind kind = Kind::none;
  double factor = 1.0;                  ///< at least 1; for ntk the resulting base must be finite
  std::int64_t original_positions = 0;  ///< yarn, llama3: context length of the training
  double beta_fast = 32.0, beta_slow = 1.0;  ///< yarn, at most 2^100
  /// yarn: whether the ends of the ramp are rounded outwards to whole pairs. False in gpt-oss
  /// ("truncate" in its configuration).
  bool truncate = true;
  std::optional<double> attention_factor{};  ///< yarn, at most 2^100; unset: 0.1 ln(factor) + 1
  double low_freq_factor = 1.0, high_freq_factor = 4.0;  ///< llama3
};

struct RopeConfig {
  std::int64_t rotary_dims = 0;  ///< how many of the first components are rotated; even; required
  std::int64_t positions = 0;    ///< rows of the table: positions 0 to positions - 1; required
  double base = 10000.0;         ///< above 1
  RopeScaling scaling{};
};

/// Rows of cos and sin by position, the caller's own or those of a RopeTable. Owns nothing.
///   cos, sin  [positions, rotary_dims / 2], last dimension dense
/// Empty (data == nullptr): nothing is rotated.
struct RopeView {
  TensorView<const float, 2> cos{}, sin{};
  Rope style{};

  constexpr RopeView() = default;
  constexpr RopeView(Rope style_, TensorView<const float, 2> cos_, TensorView<const float, 2> sin_)
      : cos(cos_), sin(sin_), style(style_) {}
};

/// cos(p * frequency_d) and sin(p * frequency_d), computed in double without a library function, so
/// that the bits are the same everywhere, and rounded once. Within 2^-24 of the exact values of
/// p * frequency_d for positions below 2^24. Immutable: may be used from many threads.
class RAPT_API RopeTable {
 public:
  /// Throws Error{invalid_argument} naming the field of the configuration and its value, and
  /// Error{out_of_memory}.
  RopeTable(Rope style, const RopeConfig& config);

  /// Valid as long as the table or one of its copies exists, even after the table was moved. Throws
  /// Error{invalid_argument} for a moved-from table.
  RopeView view() const;
  operator RopeView() const { return view(); }  // NOLINT(google-explicit-constructor)

  const RopeConfig& config() const noexcept { return config_; }

 private:
  Rope style_;
  RopeConfig config_;
  struct Rows;
  std::shared_ptr<const Rows> rows_;
};

/// What attention() rotates, and by which rows of the table.
struct RopeOptions {
  RopeView table{};

  /// [batch, q_len] (for a ragged batch [1, q_rows]); an extent of 1 broadcasts over the batch.
  /// Empty: query i is at its position by the mask, i + offset, which must be a row of the table.
  TensorView<const std::int64_t, 2> q_positions{};
  /// [batch, kv_len] (for a ragged batch [1, kv_rows]); likewise. Empty: key j is at j.
  TensorView<const std::int64_t, 2> k_positions{};

  /// False: the keys are already rotated, as in a cache, and only queries are rotated.
  bool rotate_keys = true;
};

/// y = x with each pair (u, w) of the first rotary_dims components of token i rotated:
///   (u cos - w sin, u sin + w cos),  cos and sin of row first_position + i
/// and the other components copied.
///   x, y  [batch, heads, tokens, head_dim]  any strides, last dimension dense; y is x itself (same
///         memory, type, shape and strides: in place) or overlaps neither x nor the table; f32,
///         bf16 or f16 each
/// The bits are those of attention() with this table (docs/arithmetic.md). In parallel in the
/// caller's tbb::task_arena. Throws Error{invalid_argument} naming the argument and its values
/// before anything is written.
/// Source: Su et al., "RoFormer: Enhanced Transformer with Rotary Position Embedding", 2021.
RAPT_API void apply_rope(TensorView<const void, 4> x, TensorView<void, 4> y, const RopeView& table,
                         std::int64_t first_position = 0);

/// The same with a position for each token.
///   positions  [batch, tokens], any strides; an extent of 1 broadcasts over the batch; each one is
///              a row of the table; y does not overlap them
RAPT_API void apply_rope(TensorView<const void, 4> x, TensorView<void, 4> y, const RopeView& table,
                         TensorView<const std::int64_t, 2> positions);

}  // namespace rapt
