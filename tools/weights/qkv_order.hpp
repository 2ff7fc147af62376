// The order of the rows in one matrix that holds all three projections.
#pragma once

#include "rapt/multi_head_attention.hpp"
#include "weights/model_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rapt::tools {

/// A fused matrix in the file.
struct FusedMatrixName {
  std::string_view weight;        ///< the family's name of it, such as "attention.wqkv.weight"
  std::string full;               ///< with the prefix
  std::optional<FusedRows> rows;  ///< the order, if the name alone determines it
};

/// An order and its source.
struct QkvOrder {
  FusedRows rows = FusedRows::q_k_v;
  std::string source;
};

/// "q_k_v" or "by_kv_head".
std::string_view order_name(FusedRows rows);

/// From `flag`; otherwise from the name, if all families with it agree; otherwise from the family
/// in `config`; otherwise from a single kv head, for which both orders are equal. Throws UsageError
/// naming both orders and the flag if none of these determines it, and Error{invalid_argument} for
/// a family with another order.
QkvOrder qkv_order(const FusedMatrixName& name, const ModelConfig& config,
                   std::optional<FusedRows> flag, std::int64_t kv_heads);

}  // namespace rapt::tools
