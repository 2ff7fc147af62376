// The work that `rapt bench` and `rapt compare` time: its shape, its inputs, one call of it.
#pragma once

#include "rapt/dtype.hpp"
#include "rapt/mask.hpp"
#include "text/json.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>

namespace rapt::tools {

enum class WorkKind { attention, decode, linear, mha };

/// "attention", "decode", "linear" or "mha".
std::string kind_name(WorkKind kind);

/// The sizes of a workload. Its kind uses some of them; the command line refuses the others.
struct WorkShape {
  WorkKind kind = WorkKind::attention;
  std::string preset{};  ///< "P1", ... or ""

  std::int64_t batch = 1;
  std::int64_t heads = 8;
  std::int64_t kv_heads = 0;  ///< 0: heads
  std::int64_t q_len = 512;   ///< tokens for mha; 1 for decode
  std::int64_t kv_len = 0;    ///< 0: q_len
  std::int64_t head_dim = 64;
  std::int64_t value_dim = 0;  ///< 0: head_dim
  bool causal = false;         ///< the last query sees every key

  std::int64_t window_left = kNoWindow;  ///< keys that a query sees before its own position
  double soft_cap = 0;                   ///< 0: none
  bool alibi = false;                    ///< slopes 2^(-8 (h + 1) / heads)
  bool bias = false;                     ///< [heads, q_len, kv_len], the same for the whole batch
  bool mask = false;                     ///< [q_len, kv_len], which keeps 7 of 8 keys
  bool paged = false;                    ///< keys and values in a KvCache
  std::optional<DType> kv_dtype{};       ///< of keys and values; unset: dtype

  std::int64_t rows = 512;  ///< linear
  std::int64_t in_features = 768;
  std::int64_t out_features = 768;

  std::int64_t model_dim = 768;  ///< mha

  DType dtype = DType::f32;    ///< of inputs and results
  DType weights = DType::f32;  ///< linear and mha: the type in which they are packed

  bool cold = false;  ///< rotate over copies of K and V or of the weights, larger than the caches
};

/// The kind of a name. Throws UsageError naming WORKLOAD.
WorkKind parse_kind(const std::string& name);

/// The default shape of a kind.
WorkShape default_shape(WorkKind kind);

/// The workload of a preset: P1 to P4, D1, D2, T1, G1, G1b, G2, M1. Throws UsageError naming
/// --preset and listing all of them for another name.
WorkShape preset_shape(const std::string& name);

/// The shape with every 0 replaced by its default.
WorkShape completed(WorkShape shape);

/// "attention: batch 8, heads 12, q_len 512, kv_len 512, head_dim 64".
std::string sentence(const WorkShape& shape);

/// The fields that the kind uses.
Json to_json(const WorkShape& shape);

/// Inputs in memory and one call of the work on them.
class Workload {
 public:
  virtual ~Workload() = default;

  /// Runs the work once, on the next copy of its inputs, in the current tbb::task_arena.
  virtual void call() = 0;

  /// The output of the latest call.
  virtual std::span<const float> output() const = 0;

  /// Floating-point operations of a call: two per multiply-add of the products; half of them for
  /// causal attention, the visible keys for a window.
  virtual double flops() const = 0;

  /// Bytes that a call must move: inputs and outputs once; for decode only K and V, within the
  /// window. A bias or mask is an input too, counted for the keys that flops() counts.
  virtual double bytes() const = 0;

  /// Copies that the calls rotate over.
  virtual int copies() const = 0;
};

/// Allocates the inputs and fills them with seeded values in [-1, 1). A cold workload gets copies
/// until they exceed `cache_bytes` four times, within 2 GiB; it counts as cold if copies() *
/// bytes() are at least twice cache_bytes, because caches keep a part of memory that is read
/// cyclically. Throws Error{out_of_memory} before allocating more than is available.
std::unique_ptr<Workload> make_workload(const WorkShape& shape, std::int64_t cache_bytes);

}  // namespace rapt::tools
