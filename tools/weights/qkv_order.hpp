// The order of the rows in one matrix that holds all three projections.
#pragma once

#include "rapt/multi_head_attention.hpp"
#include "weights/model_config.hpp"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace rapt::tools {

/// A fused matrix as it was found.
struct FusedMatrixName {
  std::string_view weight;        ///< the family's name of it, such as "attention.wqkv.weight"
  std::string full;               ///< with the prefix
  std::optional<FusedRows> rows;  ///< the order that the name alone says
};

/// An order and who said it.
struct QkvOrder {
  FusedRows rows = FusedRows::q_k_v;
  std::string source;
};

/// "q_k_v" or "by_kv_head".
std::string_view order_name(FusedRows rows);

/// By `flag`; otherwise by the name, where all families that have it agree; otherwise by the family
/// that `config` names; otherwise by there being one kv head only, which both orders lay out alike.
/// Throws UsageError naming both orders and the flag where none of these says it, and
/// Error{invalid_argument} for a family whose order is neither.
QkvOrder qkv_order(const FusedMatrixName& name, const ModelConfig& config,
                   std::optional<FusedRows> flag, std::int64_t kv_heads);

}  // namespace rapt::tools
