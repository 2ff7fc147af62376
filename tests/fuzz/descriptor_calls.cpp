#include "fuzz/descriptor_calls.hpp"

#include "fuzz/descriptor_functions.hpp"
#include "rapt/error.hpp"

#include <exception>
#include <iterator>
#include <string>

namespace rapt::test {
namespace {

struct Function {
  const char* name;
  void (*call)(Draws&);
};

constexpr Function kFunctions[] = {
    {"attention", call_attention},
    {"attention over a ragged batch", call_ragged},
    {"attention over pages", call_paged},
    {"attention over a cache", call_cached},
    {"cross_attention", call_crossed},
    {"KvCache", call_cache},
    {"merge", call_merge},
    {"Linear", call_linear},
    {"embedding_lookup", call_embedding},
    {"rms_norm", call_rms_norm},
    {"layer_norm", call_layer_norm},
    {"softmax", call_softmax},
    {"apply_rope", call_rope},
    {"RopeTable", call_rope_table},
    {"t5_bias", call_t5},
    {"MultiHeadAttention", call_layer},
    {"MultiHeadAttention over a cache", call_cached_layer},
    {"names", call_names},
    {"files", call_files},
};

}  // namespace

CallEnd call_with_drawn_arguments(std::uint64_t seed) {
  const Function& function = kFunctions[seed % std::size(kFunctions)];
  CallEnd end{function.name, false, ""};
  Draws draws(seed);
  try {
    function.call(draws);
    end.succeeded = true;
    if (draws.unfit()) end.fault = "took a tensor of another type or at an odd address";
  } catch (const Error& error) {
    const auto code = static_cast<int>(error.code());
    const std::string sentence = error.what();
    if (code < 0 || code > static_cast<int>(ErrorCode::cache_full)) end.fault = "an unknown code";
    if (sentence.find(": ") == std::string::npos) end.fault = "names nothing: " + sentence;
  } catch (const WrongResult& wrong) {
    end.fault = wrong.sentence;
  } catch (const std::exception& error) {
    end.fault = std::string("another exception: ") + error.what();
  }
  return end;
}

}  // namespace rapt::test
