// Seeded random attention problems: tensors in every layout with NaN around and between them,
// masks, biases, lengths; and outputs whose padding is compared too.
#pragma once

#include "core/random.hpp"
#include "core/same_bits.hpp"
#include "rapt/attention.hpp"
#include "rapt/isa.hpp"
#include "rapt/tensor.hpp"
#include "support/hidden_pattern.hpp"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rapt::test {

struct Shape {
  std::int64_t batch = 1;
  std::int64_t heads = 1;
  std::int64_t kv_heads = 1;
  std::int64_t q_len = 1;
  std::int64_t kv_len = 1;
  std::int64_t head_dim = 16;
  std::int64_t value_dim = 16;
};

/// The layout of q, k, v and the outputs in memory. Everything is surrounded by NaN.
enum class Layout {
  bhsd,    ///< dense
  bshd,    ///< tokens before heads
  packed,  ///< q, k and v are slices of one [batch, tokens, heads + 2 kv_heads, dim]
  padded,  ///< NaN after every row, too
};

/// A dimension of a mask or bias that is broadcast, by extent 1 or by stride 0.
enum Broadcast : unsigned {
  kNoBroadcast = 0,
  kOverBatch = 1,
  kOverHeads = 2,
  kOverQueries = 4,
  kOverKeys = 8,
  kByStride = 16,   ///< full extent with stride 0
  kKeysFirst = 32,  ///< no dimension, but the layout: the keys of a row are not adjacent
};

/// A pure score callback.
enum class Callback {
  none,
  bend,    ///< a function of the score, key, position, head and sequence
  hide,    ///< -inf for one key in five
  poison,  ///< NaN, -FLT_MAX and infinity for some keys
};

enum class WeightSums { none, per_head, per_kv_head };

/// The memory of a state, in the layout of a problem.
struct StateStorage {
  std::vector<float> m, l, o;
};

/// The types of a problem's tensors.
struct Types {
  DType q = DType::f32, k = DType::f32, v = DType::f32, out = DType::f32, bias = DType::f32;
};

/// The features of a problem. Every default has no effect.
struct Spec {
  Shape shape{};
  Layout layout = Layout::bhsd;
  Mask mask{};
  bool offset_per_sequence = false;  ///< query offsets that differ in the batch
  bool prefix_per_sequence = false;  ///< prefixes that differ in the batch
  bool kv_lens = false;
  std::optional<MaskMeaning> bool_mask{};
  unsigned bool_mask_broadcast = kNoBroadcast;
  Hides bool_mask_hides = Hides::scattered;
  bool bias = false;
  unsigned bias_broadcast = kNoBroadcast;
  Hides bias_hides = Hides::scattered;
  std::optional<Rope> rope{};  ///< over half of the head_dim, or all of it with `rope_whole`
  bool rope_whole = false;
  bool rope_positions = false;  ///< explicit positions for q and k, descending in the batch
  bool rope_rotate_keys = true;
  std::optional<float> qk_norm{};  ///< its epsilon
  bool qk_norm_weights = false;
  bool qk_norm_keys = true;
  std::optional<float> soft_cap{};
  std::optional<float> alibi_slope{};  ///< of head 0; half as steep for each further head
  std::optional<float> sink{};         ///< of head 0 and, one more each time, every other head
  Callback callback = Callback::none;
  std::optional<float> softmax_scale{};
  bool lse = false;
  bool weights = false;
  bool weights_rows = false;  ///< every third query only, including the last
  WeightSums weight_sums = WeightSums::none;
  bool state_in = false;  ///< random, with rows that saw no key
  bool state_out = false;
  Types types{};
  std::uint64_t seed = 1;
};

/// One line that identifies the problem, for the message of a failed check.
std::string describe(const Spec& spec);

/// The memory of a problem. Not copyable: views point into it.
struct Problem {
  explicit Problem(const Spec& spec);
  Problem(Problem&&) = default;

  Spec spec;
  std::vector<float> q_storage, k_storage, v_storage, bias_storage;
  std::vector<unsigned char> mask_storage;
  std::vector<std::int64_t> kv_lens, query_offsets, prefix_lens, weights_rows;
  StateStorage state_storage;
  std::vector<float> alibi_slopes, sinks, cos, sin, q_weight, k_weight;
  std::vector<std::int64_t> q_positions, k_positions;
  TensorView<float, 4> q, k, v, bias;
  AttentionOptions options;  ///< inputs only

  /// q, k and v as calls get them, in the types of the spec. Their floats and those of the bias are
  /// rounded to these types. Again after the floats were changed.
  void set_types();
  TensorView<const void, 4> typed_q, typed_k, typed_v;

 private:
  std::vector<std::uint16_t> q_memory_, k_memory_, v_memory_, bias_memory_;
};

/// Every output of one call, filled with a value that no result has, so that comparing the whole
/// storage also finds writes outside the views.
struct Outputs {
  explicit Outputs(const Spec& spec) : Outputs(spec, spec.shape.batch) {}
  /// Outputs with weight sums of that many sequences, whatever the batch.
  Outputs(const Spec& spec, std::int64_t sequences);

  std::vector<float> out_storage, lse_storage, weights_storage, sums_storage;
  StateStorage state_storage;
  TensorView<float, 4> out;
  TensorView<void, 4> typed_out;  ///< what calls write
  TensorView<float, 3> lse;
  TensorView<float, 4> weights;
  TensorView<float, 3> weight_sums;
  AttentionState<float> state;

  /// out from typed_out.
  void widen();

 private:
  std::vector<std::uint16_t> out_memory_;
};

/// rapt::attention or rapt::reference::attention.
using AttentionFunction = void(TensorView<const void, 4>, TensorView<const void, 4>,
                               TensorView<const void, 4>, TensorView<void, 4>,
                               const AttentionOptions&);

/// The weight sums of sequence s, if any.
TensorView<float, 3> sums_of(const TensorView<float, 3>& sums, std::size_t s);

/// Sets the options' outputs to these.
void write_to(const Outputs& outputs, AttentionOptions& options);

/// The outputs of the problem by that function; lse and weights if the spec has them.
Outputs run(AttentionFunction& function, const Problem& problem);

using rapt::same_bits;
/// Compares everything, padding included.
bool same_bits(const Outputs& x, const Outputs& y);

/// Forces an ISA for the life of the object.
class ForcedIsa {
 public:
  explicit ForcedIsa(Isa isa) { force_isa(isa); }
  ~ForcedIsa() { reset_isa(); }
  ForcedIsa(const ForcedIsa&) = delete;
  ForcedIsa& operator=(const ForcedIsa&) = delete;
};

}  // namespace rapt::test
