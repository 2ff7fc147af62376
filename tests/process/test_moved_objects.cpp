// Every member of a moved-from object is an error that says so, until it is assigned to; the new
// object works.
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"
#include "support/temporary_directory.hpp"

#include <doctest/doctest.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace rapt::test {
namespace {

using Calls = std::vector<std::function<void()>>;

/// Creates an object that was moved from in each way, and one that was assigned to itself.
///   calls(object)   every member that needs the moved state
///   works(object)   whether an object with that state gives correct results
template <class Object>
void check_moves(const std::function<Object()>& make, const std::string& sentence,
                 const std::function<Calls(Object&)>& calls,
                 const std::function<bool(Object&)>& works) {
  const auto is_moved_from = [&](Object& object) {
    for (const auto& call : calls(object)) CHECK(sentence_of(call) == sentence);
  };
  Object first = make();
  CHECK(works(first));
  Object second(std::move(first));
  is_moved_from(first);  // NOLINT(bugprone-use-after-move): what is tested
  CHECK(works(second));
  Object third = make();
  third = std::move(second);
  is_moved_from(second);  // NOLINT(bugprone-use-after-move)
  CHECK(works(third));
  Object& same = third;
  third = std::move(same);
  CHECK(works(third));
  first = std::move(third);  // a moved-from object gets another's state
  CHECK(works(first));
  Object from_moved(std::move(third));  // moves a moved-from state on
  is_moved_from(from_moved);
  {
    auto gone = std::make_unique<Object>(std::move(first));
    is_moved_from(first);  // NOLINT(bugprone-use-after-move)
    gone.reset();
    is_moved_from(first);  // whatever its state
  }
}

const std::vector<float>& numbers() {
  static const std::vector<float> values = normal_floats(64 * 64, 3);
  return values;
}

TensorView<const float, 3> three(std::int64_t a, std::int64_t b, std::int64_t c) {
  return {numbers().data(), {a, b, c}};
}

struct Row {
  std::vector<float> y = std::vector<float>(64);
  TensorView<float, 3> three(std::int64_t a, std::int64_t b, std::int64_t c) {
    return {y.data(), {a, b, c}};
  }
};

const std::int64_t kSequences[] = {0}, kRows[] = {0, 1};
const CacheQueries kQueries{.sequences = kSequences, .rows = kRows};

KvCache small_cache() {
  KvCache cache({.kv_heads = 2, .head_dim = 8});
  cache.append(cache.add(), three(3, 2, 8), three(3, 2, 8));
  return cache;
}

MultiHeadAttention small_layer() {
  const Linear projection(TensorView<const float, 2>(numbers().data(), {16, 16}));
  return MultiHeadAttention(
      {.model_dim = 16, .num_heads = 2, .qk_norm_epsilon = 1e-6f},
      {projection, projection, projection, projection, std::vector<float>(8, 3.0f)});
}

std::vector<float> forward(const MultiHeadAttention& layer) {
  Row row;
  layer.forward(three(1, 3, 16), row.three(1, 3, 16));
  return row.y;
}

}  // namespace

TEST_CASE("a moved-from cache is an error in every call") {
  const auto calls = [](KvCache& cache) -> Calls {
    return {
        [&] { cache.add(); },
        [&] { cache.fork(0); },
        [&] { cache.append(0, three(3, 2, 8), three(3, 2, 8)); },
        [&] { cache.append(kSequences, kRows, three(1, 2, 8), three(1, 2, 8)); },
        [&] { cache.truncate(0, 1); },
        [&] { cache.remove(0); },
        [&] { cache.clear(); },
        [&] { cache.reserve(1); },
        [&] { cache.length(0); },
        [&] { cache.first_token(0); },
        [&] { cache.usage(); },
        [&] { cache.config(); },
        [&] { attention(three(1, 2, 8), cache, kQueries, Row().three(1, 2, 8)); },
        [&] { attention(three(1, 2, 8), cache, 0, Row().three(1, 2, 8)); },
        [&] { cross_attention(three(1, 2, 8), cache, kQueries, Row().three(1, 2, 8)); },
        [&] {
          Row row;
          small_layer().forward(TensorView<const float, 2>(numbers().data(), {1, 16}), cache,
                                kQueries, TensorView<float, 2>(row.y.data(), {1, 16}));
        },
        [&] {
          Row row;
          small_layer().cross_forward({numbers().data(), {1, 16}}, cache, kQueries,
                                      {row.y.data(), {1, 16}});
        },
        [&] {
          small_layer().append_context({numbers().data(), {1, 16}}, cache, kSequences, kRows);
        },
    };
  };
  check_moves<KvCache>(small_cache, "cache: was moved from", calls, [](KvCache& cache) {
    return cache.length(0) == 3 && cache.config().kv_heads == 2;
  });
}

TEST_CASE("a moved-from linear layer is empty") {
  const auto make = [] { return Linear(TensorView<const float, 2>(numbers().data(), {16, 16})); };
  const auto calls = [](Linear& layer) -> Calls {
    CHECK(layer.in_features() == 0);
    CHECK(layer.out_features() == 0);
    return {[&] {
      Row row;
      layer.forward({numbers().data(), {1, 16}}, {row.y.data(), {1, 16}});
    }};
  };
  check_moves<Linear>(make, "forward: the layer is empty", calls,
                      [](Linear& layer) { return layer.in_features() == 16; });
}

TEST_CASE("a moved-from multi-head layer is an error in every call") {
  const std::vector<float> want = forward(small_layer());
  const auto calls = [](MultiHeadAttention& layer) -> Calls {
    return {
        [&] { forward(layer); },
        [&] { layer.forward(three(1, 0, 16), three(1, 0, 16), Row().three(1, 0, 16)); },
        [&] {
          Row row;
          KvCache cache = small_cache();
          layer.forward(TensorView<const float, 2>(numbers().data(), {1, 16}), cache, kQueries,
                        TensorView<float, 2>(row.y.data(), {1, 16}));
        },
        [&] {
          Row row;
          layer.cross_forward({numbers().data(), {1, 16}}, small_cache(), kQueries,
                              {row.y.data(), {1, 16}});
        },
        [&] {
          KvCache cache = small_cache();
          layer.append_context({numbers().data(), {1, 16}}, cache, kSequences, kRows);
        },
    };
  };
  check_moves<MultiHeadAttention>(
      small_layer, "layer: was moved from", calls,
      [&](MultiHeadAttention& layer) { return same_bits(forward(layer), want); });
}

TEST_CASE("a moved-from RoPE table is an error instead of no rotation") {
  const auto make = [] { return RopeTable(Rope::half, {.rotary_dims = 8, .positions = 4}); };
  const auto calls = [](RopeTable& table) -> Calls {
    return {
        [&] { (void)table.view(); },
        [&] {
          Row row;
          const TensorView<const float, 4> x(numbers().data(), {1, 2, 1, 8});
          attention(x, x, x, {row.y.data(), {1, 2, 1, 8}}, {.rope = {.table = table}});
        },
    };
  };
  check_moves<RopeTable>(make, "table: was moved from", calls, [](RopeTable& table) {
    const RopeView view = table.view();
    return view.cos(0, 0) == 1.0f && view.sin(0, 0) == 0.0f;
  });
}

TEST_CASE("a moved-from file is an error in every call") {
  const TemporaryDirectory folder;
  write_npy(folder.path("x.npy"), numbers().data(), {2, 3});
  check_moves<NpyFile>(
      [&] { return NpyFile(folder.path("x.npy")); }, "file: was moved from",
      [](NpyFile& file) -> Calls { return {[&] { (void)file.tensor(); }}; },
      [](NpyFile& file) { return file.tensor().copy_as_float()[5] == numbers()[5]; });

  std::string header = R"({"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})";
  header = std::string(1, static_cast<char>(header.size())) + std::string(7, '\0') + header;
  const std::string path = folder.write("x.safetensors", header + std::string(4, '\0'));
  check_moves<SafetensorsFile>(
      [&] { return SafetensorsFile(path); }, "file: was moved from",
      [](SafetensorsFile& file) -> Calls {
        return {[&] { (void)file.tensors(); }, [&] { (void)file.find("x"); },
                [&] { (void)file.at("x"); }};
      },
      [](SafetensorsFile& file) {
        return file.find("x") == &file.tensors()[0] && file.at("x").copy_as_float()[0] == 0.0f;
      });
}

}  // namespace rapt::test
