// A call of each public function with random arguments; the caller judges exceptions.
#pragma once

#include "fuzz/descriptor_draws.hpp"

namespace rapt::test {

/// Thrown for a result that no correct call gives.
struct WrongResult {
  const char* sentence;
};

void call_attention(Draws& d);
void call_ragged(Draws& d);
void call_paged(Draws& d);
void call_cached(Draws& d);
void call_crossed(Draws& d);
void call_cache(Draws& d);
void call_merge(Draws& d);
void call_layer(Draws& d);
void call_cached_layer(Draws& d);
void call_linear(Draws& d);
void call_embedding(Draws& d);
void call_rms_norm(Draws& d);
void call_layer_norm(Draws& d);
void call_softmax(Draws& d);
void call_rope(Draws& d);
void call_rope_table(Draws& d);
void call_t5(Draws& d);
void call_names(Draws& d);
void call_files(Draws& d);

}  // namespace rapt::test
