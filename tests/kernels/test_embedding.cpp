// Embedding: rows by id, in any layout, and errors for ids outside the table.
#include "rapt/rapt.hpp"
#include "support/problems.hpp"
#include "support/sentence_of.hpp"

#include <doctest/doctest.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <string>
#include <vector>

namespace rapt::test {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

/// A table whose element (row, column) is 100 row + column, and 5 ids.
struct Lookup {
  std::vector<float> memory = std::vector<float>(10 * 16);
  std::vector<float> result = std::vector<float>(5 * 16, kNaN);
  std::vector<std::int64_t> ids{2, 6, 8, 3, 1};
  TensorView<const float, 2> table{memory.data(), {10, 16}};
  TensorView<float, 2> y{result.data(), {5, 16}};

  Lookup() {
    for (int i = 0; i < 160; ++i) memory[i] = static_cast<float>(100 * (i / 16) + i % 16);
  }
};

/// The sentence of the error after a change of the arguments; checks that nothing was written.
std::string spoilt(const std::function<void(Lookup&)>& change) {
  Lookup l;
  change(l);
  const std::vector<float> memory = l.memory, result = l.result;
  const std::string sentence = sentence_of([&] { embedding_lookup(l.table, l.ids, l.y); });
  CHECK(same_bits(l.memory, memory));
  CHECK(same_bits(l.result, result));
  return sentence;
}

TEST_CASE("each id selects its row, also repeatedly") {
  Lookup l;
  l.ids = {9, 0, 3, 3, 9};
  embedding_lookup(l.table, l.ids, l.y);
  for (int i = 0; i < 5; ++i) {
    for (int d = 0; d < 16; ++d) CHECK(l.y(i, d) == static_cast<float>(100 * l.ids[i] + d));
  }
}

TEST_CASE("rows of the table and of the result may have gaps") {
  Lookup l;
  // Every second row of the table in reverse order, its first 7 columns; results 9 floats apart.
  l.table = {l.memory.data() + 9 * 16, {5, 7}, {-32, 1}};
  l.y = {l.result.data(), {3, 7}, {9, 1}};
  l.ids = {0, 4, 1};
  std::vector<float> expected = l.result;
  embedding_lookup(l.table, l.ids, l.y);
  for (int i = 0; i < 3; ++i) {
    for (int d = 0; d < 7; ++d) {
      expected[9 * i + d] = static_cast<float>(100 * (9 - 2 * l.ids[i]) + d);
    }
  }
  CHECK(same_bits(l.result, expected));
}

TEST_CASE("empty ids and zero features are valid, and rows are copied bit for bit") {
  embedding_lookup(TensorView<float, 2>(nullptr, {0, 16}), {},
                   TensorView<float, 2>(nullptr, {0, 16}));
  Lookup l;
  embedding_lookup({l.memory.data(), {10, 0}}, l.ids, {l.result.data(), {5, 0}});
  l.memory[2 * 16] = -kNaN;
  l.memory[2 * 16 + 1] = -0.0f;
  embedding_lookup(l.table, l.ids, l.y);
  const std::vector<float> row(l.memory.begin() + 32, l.memory.begin() + 48);
  CHECK(same_bits({l.result.begin(), l.result.begin() + 16}, row));
}

TEST_CASE("an id outside the table gives an error with its position, and nothing is written") {
  CHECK(spoilt([](Lookup& l) { l.ids[3] = 10; }) == "ids[3]: 10 is outside the table's 10 rows");
  CHECK(spoilt([](Lookup& l) { l.ids[4] = -1; }) == "ids[4]: -1 is outside the table's 10 rows");
  CHECK(spoilt([](Lookup& l) { l.table.shape[0] = 0; }) ==
        "ids[0]: 2 is outside the table's 0 rows");
}

TEST_CASE("a table or result that does not fit is refused") {
  CHECK(spoilt([](Lookup& l) { l.ids.pop_back(); }) ==
        "y: tokens 5 does not match the number of ids 4");
  CHECK(spoilt([](Lookup& l) { l.y.shape[1] = 15; }) ==
        "y: features 15 does not match the table's 16");
  CHECK(spoilt([](Lookup& l) { l.table.data = nullptr; }) ==
        "table: no memory is given for a tensor that has elements");
  CHECK(spoilt([](Lookup& l) { l.table.strides[1] = 2; }) ==
        "table: the stride 2 of the last dimension is not 1");
  CHECK(spoilt([](Lookup& l) { l.y.strides[0] = 15; }) ==
        "y: the stride 15 of dimension 0 makes elements share memory");
  CHECK(spoilt([](Lookup& l) { l.y.data = l.memory.data() + 150; }) == "y: overlaps table");
  CHECK(spoilt([](Lookup& l) { l.y.data = reinterpret_cast<float*>(l.ids.data()); }) ==
        "y: overlaps ids");
}

}  // namespace
}  // namespace rapt::test
