// Rows of queries and keys in the form that is multiplied, as plain loops: normalised, then rotated
// to a position.
#pragma once

#include "rapt/attention.hpp"
#include "rapt/rms_norm.hpp"
#include "rapt/rope.hpp"

#include <cstdint>
#include <span>
#include <vector>

namespace rapt::reference {

/// The components of x after rms_norm(); weight [x.size()] or empty.
std::vector<float> normalized(std::vector<float> x, std::span<const float> weight, float epsilon);

/// The components of x after the rotation at `position`; x itself without a table.
std::vector<float> rotated(std::vector<float> x, const RopeView& table, std::int64_t position);

/// A row in float64, with the magnitude of each component's terms: |u cos| + |w sin| if rotated.
struct Row64 {
  std::vector<double> value, magnitude;
};
Row64 row64(const float* x, std::int64_t width);
Row64 normalized64(Row64 x, std::span<const float> weight, float epsilon);
Row64 rotated64(Row64 x, const RopeView& table, std::int64_t position);

/// Which sequence and row of the options a row of q or k is.
struct RowPlace {
  std::int64_t batch;
  std::int64_t row;       ///< query or key of the sequence
  std::int64_t position;  ///< its position among the keys; the row itself for a key
};

/// A query and a key of head_dim components as attention() multiplies them.
std::vector<float> query_row(const AttentionOptions& options, std::vector<float> q,
                             const RowPlace& at);
std::vector<float> key_row(const AttentionOptions& options, std::vector<float> k,
                           const RowPlace& at);
Row64 query_row64(const AttentionOptions& options, const std::vector<float>& q, const RowPlace& at);
Row64 key_row64(const AttentionOptions& options, const std::vector<float>& k, const RowPlace& at);

}  // namespace rapt::reference
