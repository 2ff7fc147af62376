// The JSON header of .safetensors, parsed event by event: the grammar has three levels, so hostile
// nesting ends at the first bracket too many. Keeps a name and shape per tensor, a name per entry.
#include "formats/malformed.hpp"
#include "formats/safetensors.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <array>
#include <iterator>
#include <limits>

namespace rapt::io {
namespace {

struct StoredType {
  std::string_view name;
  DType dtype;
  unsigned bits;
};

/// Every type of the format. Those of DType::other are measured and listed, but not read as float.
constexpr std::array<StoredType, 22> kStoredTypes = {{
    {"F64", DType::f64, 64},          {"F32", DType::f32, 32},
    {"F16", DType::f16, 16},          {"BF16", DType::bf16, 16},
    {"I64", DType::i64, 64},          {"I32", DType::i32, 32},
    {"I16", DType::i16, 16},          {"I8", DType::i8, 8},
    {"U64", DType::u64, 64},          {"U32", DType::u32, 32},
    {"U16", DType::u16, 16},          {"U8", DType::u8, 8},
    {"BOOL", DType::boolean, 8},      {"C64", DType::other, 64},
    {"F8_E4M3", DType::other, 8},     {"F8_E5M2", DType::other, 8},
    {"F8_E8M0", DType::other, 8},     {"F8_E4M3FNUZ", DType::other, 8},
    {"F8_E5M2FNUZ", DType::other, 8}, {"F6_E2M3", DType::other, 6},
    {"F6_E3M2", DType::other, 6},     {"F4", DType::other, 4},
}};

/// Reads characters for the JSON parser and tells how far it has read.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, const char** read_to) : at_(at), read_to_(read_to) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    *read_to_ = ++at_;
    return *this;
  }
  CountingIterator operator++(int) {
    const CountingIterator before = *this;
    ++*this;
    return before;
  }
  friend bool operator==(const CountingIterator& a, const CountingIterator& b) {
    return a.at_ == b.at_;
  }

 private:
  const char* at_;
  const char** read_to_;
};

struct Name {
  std::string text;
  std::uint64_t at;
};

/// A Name that is stored elsewhere.
struct NameView {
  std::string_view text;
  std::uint64_t at;
};

/// Receives the parser's events. Each handler throws where the grammar does not allow its event.
class HeaderEvents final : public nlohmann::json_sax<nlohmann::json> {
 public:
  HeaderEvents(std::string_view json, const std::string& path) : json_(json), path_(path) {}

  /// The entries, once the parser has read everything.
  std::vector<HeaderTensor> finish() {
    std::vector<NameView> names;
    names.reserve(std::max(tensors_.size(), metadata_.size()));
    for (const HeaderTensor& tensor : tensors_) names.push_back({tensor.name, tensor.at});
    refuse_duplicates(names, "tensor");
    names.clear();
    for (const Name& name : metadata_) names.push_back({name.text, name.at});
    refuse_duplicates(names, "metadata key");
    return std::move(tensors_);
  }

  const char** read_to() { return &read_to_; }

  bool key(std::string& text) override {
    next_token();
    // Copied, not moved from: the parser's buffer has room for the longest string so far.
    if (place_ == Place::metadata) {
      if (metadata_.size() == kMaxEntries) fail_for_limit("metadata entries", at_);
      metadata_.push_back({text, at_});
    } else if (place_ == Place::tensor) {
      start_field(text);
    } else {
      name_ = {text, at_};
    }
    return true;
  }

  bool start_object(std::size_t) override {
    next_token();
    if (place_ == Place::outside) {
      place_ = Place::header;
    } else if (place_ == Place::header && name_.text == "__metadata__") {
      if (has_metadata_) fail("\"__metadata__\" stands twice in the header", name_.at);
      has_metadata_ = true;
      place_ = Place::metadata;
    } else if (place_ == Place::header) {
      if (tensors_.size() == kMaxEntries) fail_for_limit("tensors", name_.at);
      tensors_.push_back({.name = std::move(name_.text), .at = name_.at, .shape = {}});
      seen_ = {};
      place_ = Place::tensor;
    } else {
      refuse("an object");
    }
    return true;
  }

  bool end_object() override {
    next_token();
    if (place_ == Place::tensor) {
      for (std::size_t field = 0; field < kFields; ++field) {
        if (!seen_[field]) fail(in_tensor() + "has no " + quote(kFieldNames[field]), tensor().at);
      }
    }
    place_ = place_ == Place::header ? Place::outside : Place::header;
    return true;
  }

  bool start_array(std::size_t) override {
    next_token();
    if (place_ != Place::tensor || field_ == kDtype) refuse("an array");
    place_ = Place::numbers;
    rank_ = 0;
    offsets_read_ = 0;
    return true;
  }

  bool end_array() override {
    next_token();
    if (field_ == kDataOffsets && offsets_read_ != 2) {
      fail(in_tensor() + "data_offsets must be two numbers, found " +
           std::to_string(offsets_read_));
    }
    if (field_ == kShape) tensor().shape.assign(extents_.begin(), extents_.begin() + rank_);
    place_ = Place::tensor;
    return true;
  }

  bool string(std::string& text) override {
    next_token();
    if (place_ == Place::metadata) return true;
    if (place_ != Place::tensor || field_ != kDtype) refuse("the string " + quote(text));
    const auto* const type =
        std::find_if(kStoredTypes.begin(), kStoredTypes.end(),
                     [&text](const StoredType& stored) { return stored.name == text; });
    if (type == kStoredTypes.end()) fail(in_tensor() + "unknown dtype " + quote(text));
    tensor().dtype = type->dtype;
    tensor().type_word = type->name;
    tensor().bits = type->bits;
    return true;
  }

  bool number_unsigned(std::uint64_t number) override {
    next_token();
    --token_end_;  // The parser has seen the end of a number only when it read the character after
                   // it.
    if (place_ != Place::numbers) refuse("the number " + std::to_string(number));
    constexpr std::uint64_t kMax = std::numeric_limits<std::int64_t>::max();
    if (number > kMax) refuse("the number " + std::to_string(number) + ", which reaches 2^63,");
    if (field_ == kShape) {
      if (rank_ == kMaxRank) fail(in_tensor() + "more than 64 dimensions");
      extents_[rank_++] = static_cast<std::int64_t>(number);
    } else {
      (offsets_read_ == 0 ? tensor().begin : tensor().end) = number;
      ++offsets_read_;
    }
    return true;
  }

  bool number_integer(std::int64_t) override { return refuse_next("a negative number"); }
  bool number_float(double, const std::string& text) override {
    return refuse_next("the number " + quote(text) + ", fractional or too large,");
  }
  bool null() override { return refuse_next("null"); }
  bool boolean(bool value) override { return refuse_next(value ? "true" : "false"); }
  bool binary(nlohmann::json::binary_t&) override { return refuse_next("binary data"); }

  bool parse_error(std::size_t read, const std::string&,
                   const nlohmann::detail::exception& error) override {
    constexpr int kNumberOverflow = 406;
    if (error.id == kNumberOverflow) return refuse_next("a number that is too large");
    if (read > json_.size()) fail("the header's JSON is not complete", file_offset(json_.size()));
    const std::size_t last = read == 0 ? 0 : read - 1;
    fail("the header is not valid JSON in UTF-8 at " + quote(json_.substr(last, 8)),
         file_offset(last));
  }

 private:
  enum class Place { outside, header, metadata, tensor, numbers };
  enum Field : std::size_t { kDtype, kShape, kDataOffsets, kFields };
  static constexpr std::array<std::string_view, kFields> kFieldNames = {"dtype", "shape",
                                                                        "data_offsets"};

  /// Sets at_ to the file offset of the token that has just been read: the first character after
  /// the previous token that is not a separator.
  void next_token() {
    std::size_t start = token_end_;
    while (start < json_.size() && separates(json_[start])) ++start;
    at_ = file_offset(start);
    token_end_ = static_cast<std::size_t>(read_to_ - json_.data());
  }

  static bool separates(char c) {
    return c == ',' || c == ' ' || c == ':' || c == '\n' || c == '\t' || c == '\r';
  }

  void start_field(const std::string& text) {
    field_ = static_cast<std::size_t>(std::find(kFieldNames.begin(), kFieldNames.end(), text) -
                                      kFieldNames.begin());
    if (field_ == kFields) fail(in_tensor() + "unknown key " + quote(text));
    if (seen_[field_]) fail(in_tensor() + "the key " + quote(text) + " stands twice");
    seen_[field_] = true;
  }

  /// Sorts `names`. Without a hash: no choice of names makes it slow.
  void refuse_duplicates(std::vector<NameView>& names, const std::string& kind) const {
    std::sort(names.begin(), names.end(), [](const NameView& a, const NameView& b) {
      const int order = a.text.compare(b.text);
      return order != 0 ? order < 0 : a.at < b.at;
    });
    const auto same = [](const NameView& a, const NameView& b) { return a.text == b.text; };
    const auto twice = std::adjacent_find(names.begin(), names.end(), same);
    if (twice == names.end()) return;
    fail(kind + " " + quote(twice->text) + " stands twice in the header", std::next(twice)->at);
  }

  /// Throws for a value `found` that the current place does not allow.
  [[noreturn]] void refuse(const std::string& found) const {
    switch (place_) {
      case Place::outside:
      case Place::header:
        fail(quote(name_.text) + " must be an object, found " + found);
      case Place::metadata:
        fail("values of \"__metadata__\" must be strings, found " + found);
      case Place::numbers:
        fail(in_tensor() + quote(kFieldNames[field_]) +
             " must be an array of whole numbers below 2^63, found " + found);
      case Place::tensor:
        break;
    }
    fail(in_tensor() + quote(kFieldNames[field_]) + " must be " +
         (field_ == kDtype ? "a string" : "an array of whole numbers") + ", found " + found);
  }

  [[noreturn]] bool refuse_next(const std::string& found) {
    next_token();
    refuse(found);
  }

  [[noreturn]] void fail_for_limit(const std::string& entries, std::uint64_t at) const {
    fail("more than the limit of " + std::to_string(kMaxEntries) + " " + entries, at);
  }
  [[noreturn]] void fail(const std::string& what) const { fail(what, at_); }
  [[noreturn]] void fail(const std::string& what, std::uint64_t at) const {
    malformed(path_, at, what);
  }

  static std::uint64_t file_offset(std::size_t in_header) { return kHeaderLengthBytes + in_header; }
  HeaderTensor& tensor() { return tensors_.back(); }
  std::string in_tensor() const { return "tensor " + quote(tensors_.back().name) + ": "; }

  std::string_view json_;
  const std::string& path_;
  const char* read_to_ = json_.data();
  std::size_t token_end_ = 0;
  std::uint64_t at_ = kHeaderLengthBytes;

  Place place_ = Place::outside;
  Name name_{};  ///< the key of the header that was read last
  std::size_t field_ = kDtype;
  std::array<bool, kFields> seen_{};
  /// The shape that is being read: a vector that grows costs seven allocations for 64 extents.
  std::array<std::int64_t, kMaxRank> extents_{};
  std::size_t rank_ = 0;
  int offsets_read_ = 0;
  bool has_metadata_ = false;
  std::vector<Name> metadata_;
  std::vector<HeaderTensor> tensors_;
};

}  // namespace

std::vector<HeaderTensor> parse_safetensors_header(std::string_view json, const std::string& path) {
  if (!json.starts_with('{')) {
    malformed(path, kHeaderLengthBytes,
              "the header must start with '{', found " + quote(json.substr(0, 8)));
  }
  // The JSON parser takes a zero byte for the end and would ignore what follows it.
  if (const std::size_t zero = json.find('\0'); zero != std::string_view::npos) {
    malformed(path, kHeaderLengthBytes + zero, "the header holds a zero byte");
  }
  HeaderEvents events(json, path);
  const char** const read_to = events.read_to();
  nlohmann::json::sax_parse(CountingIterator(json.data(), read_to),
                            CountingIterator(json.data() + json.size(), read_to), &events);
  return events.finish();
}

}  // namespace rapt::io
