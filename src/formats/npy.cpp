// Reading .npy: a magic string, a length, a Python dict of three keys, and the elements.
#include "formats/npy.hpp"

#include "core/counted.hpp"
#include "formats/malformed.hpp"
#include "formats/mapped_file.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <memory>
#include <utility>

namespace rapt::io {
namespace {

using core::counted;

constexpr std::string_view kMagic = "\x93NUMPY";

/// The largest length that format 1.0 can express. 64 dimensions take less than 2000 bytes; the
/// longer headers of 2.0 and 3.0 are for structured types, which are errors.
constexpr std::uint64_t kMaxHeaderBytes = 65535;

struct Descr {
  std::string_view text;
  DType dtype;
};

constexpr std::array<Descr, 12> kDescrs = {{{"<f8", DType::f64},
                                            {"<f4", DType::f32},
                                            {"<f2", DType::f16},
                                            {"<i8", DType::i64},
                                            {"<i4", DType::i32},
                                            {"<i2", DType::i16},
                                            {"|i1", DType::i8},
                                            {"<u8", DType::u64},
                                            {"<u4", DType::u32},
                                            {"<u2", DType::u16},
                                            {"|u1", DType::u8},
                                            {"|b1", DType::boolean}}};

/// The header's dict: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } with the keys in
/// any order, spaces between tokens, spaces after it and a newline at the end. Not a Python parser:
/// anything that NumPy does not write is an error.
class HeaderParser {
 public:
  /// `text` starts at byte `base` of the file.
  HeaderParser(std::string_view text, std::uint64_t base, const std::string& path)
      : text_(text), base_(base), path_(path) {}

  /// Fills in dtype and shape.
  void parse(FileTensor& tensor) {
    expect('{', "the header's dict");
    while (!accept('}')) {
      parse_entry(tensor);
      if (accept('}')) break;
      expect(',', "',' or '}'");
    }
    require_all_keys();
    skip_spaces();
    if (rest() != "\n") fail("spaces and one newline must end the header, found " + found());
    const std::size_t rank = tensor.shape.size();
    if (fortran_order_ && rank > 1) {
      fail_at(fortran_at_, "Fortran order is refused for " + std::to_string(rank) + " dimensions");
    }
  }

 private:
  enum Key : std::size_t { kDescr, kFortranOrder, kShape, kKeys };
  static constexpr std::array<std::string_view, kKeys> kKeyNames = {"descr", "fortran_order",
                                                                    "shape"};

  void parse_entry(FileTensor& tensor) {
    skip_spaces();
    const std::size_t at = position_;
    const std::string_view name = parse_string("a key");
    const auto key = static_cast<std::size_t>(std::find(kKeyNames.begin(), kKeyNames.end(), name) -
                                              kKeyNames.begin());
    if (key == kKeys) fail_at(at, "unknown key " + quote(name) + " in the header");
    if (seen_[key]) fail_at(at, "the key " + quote(name) + " stands twice in the header");
    seen_[key] = true;
    expect(':', "':'");
    skip_spaces();
    if (key == kDescr) tensor.dtype = parse_descr();
    if (key == kFortranOrder) parse_fortran_order();
    if (key == kShape) tensor.shape = parse_shape();
  }

  void require_all_keys() {
    for (std::size_t key = 0; key < kKeys; ++key) {
      if (!seen_[key]) fail("the header has no key " + quote(kKeyNames[key]));
    }
  }

  DType parse_descr() {
    const std::size_t at = position_;
    if (rest().starts_with('[') || rest().starts_with('(')) fail("structured types are refused");
    const std::string_view text = parse_string("a type such as '<f4'");
    for (const Descr& descr : kDescrs) {
      if (descr.text == text) return descr.dtype;
    }
    if (text.starts_with('>')) fail_at(at, "big-endian data is refused: descr " + quote(text));
    if (text.starts_with("|O")) fail_at(at, "object arrays are refused: descr " + quote(text));
    fail_at(at, "descr " + quote(text) + " is not a type that can be read");
  }

  void parse_fortran_order() {
    fortran_at_ = position_;
    if (accept_word("False")) return;
    if (!accept_word("True")) fail("fortran_order must be True or False, found " + found());
    fortran_order_ = true;
  }

  /// (), (3,), (2, 3) or (2, 3,); (3) is a number in Python, not a tuple.
  std::vector<std::int64_t> parse_shape() {
    std::vector<std::int64_t> shape;
    expect('(', "the shape's '('");
    bool comma = true;
    while (!accept(')')) {
      if (!comma) fail("expected ',' or ')' in the shape, found " + found());
      if (shape.size() == kMaxRank) fail("the shape has more than 64 dimensions");
      shape.push_back(parse_extent());
      comma = accept(',');
      if (!comma && shape.size() == 1)
        fail("a shape of one dimension needs a comma, found " + found());
    }
    return shape;
  }

  std::int64_t parse_extent() {
    skip_spaces();
    const std::size_t at = position_;
    constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
    std::int64_t extent = 0;
    while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') {
      const int digit = text_[position_] - '0';
      if (extent > (kMax - digit) / 10) fail_at(at, "an extent of the shape reaches 2^63");
      extent = extent * 10 + digit;
      ++position_;
    }
    if (position_ == at) fail("expected an extent of the shape, found " + found());
    if (text_[at] == '0' && position_ - at > 1) fail_at(at, "an extent of the shape starts with 0");
    return extent;
  }

  std::string_view parse_string(const std::string& what) {
    const std::size_t at = position_;
    const char mark = at < text_.size() ? text_[at] : '\0';
    if (mark != '\'' && mark != '"') fail("expected " + what + " in quotes, found " + found());
    const std::size_t end = text_.find(mark, at + 1);
    if (end == std::string_view::npos) fail("a string in the header does not end");
    position_ = end + 1;
    return text_.substr(at + 1, end - at - 1);
  }

  void skip_spaces() {
    position_ = std::min(text_.find_first_not_of(' ', position_), text_.size());
  }

  bool accept(char c) {
    skip_spaces();
    if (!rest().starts_with(c)) return false;
    ++position_;
    return true;
  }

  bool accept_word(std::string_view word) {
    if (!rest().starts_with(word)) return false;
    position_ += word.size();
    return true;
  }

  void expect(char c, const std::string& what) {
    if (!accept(c)) fail("expected " + what + ", found " + found());
  }

  std::string_view rest() const { return text_.substr(position_); }

  std::string found() const {
    return position_ < text_.size() ? quote(rest().substr(0, 8)) : "the header's end";
  }

  [[noreturn]] void fail(const std::string& what) const { fail_at(position_, what); }
  [[noreturn]] void fail_at(std::size_t at, const std::string& what) const {
    malformed(path_, base_ + at, what);
  }

  std::string_view text_;
  std::uint64_t base_;
  const std::string& path_;
  std::size_t position_ = 0;
  std::array<bool, kKeys> seen_{};
  bool fortran_order_ = false;
  std::size_t fortran_at_ = 0;
};

struct Header {
  std::size_t begin;  ///< the dict's first byte
  std::size_t end;    ///< the data's first byte
};

/// Reads magic, version and length.
Header locate_header(std::span<const std::byte> bytes, const std::string& path) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (!text.starts_with(kMagic)) {
    malformed(path, 0, "not a .npy file: it starts with " + quote(text.substr(0, kMagic.size())));
  }
  if (bytes.size() < 8) malformed(path, bytes.size(), "the file ends inside its version");
  const auto major = std::to_integer<unsigned>(bytes[6]);
  const auto minor = std::to_integer<unsigned>(bytes[7]);
  if (major < 1 || major > 3 || minor != 0) {
    malformed(path, 6,
              "version " + std::to_string(major) + "." + std::to_string(minor) +
                  " of .npy is not 1.0, 2.0 or 3.0");
  }
  const std::size_t begin = major == 1 ? 10 : 12;
  if (bytes.size() < begin) malformed(path, bytes.size(), "the file ends inside its header length");
  const std::uint64_t length = little_endian(bytes.subspan(8, begin - 8));
  if (length > bytes.size() - begin) {
    malformed(path, 8,
              "a header of " + counted(length, "byte") + " passes the end of the file (" +
                  counted(bytes.size(), "byte") + ")");
  }
  if (length > kMaxHeaderBytes) {
    malformed(path, 8,
              "a header of " + std::to_string(length) + " bytes is longer than the limit of " +
                  std::to_string(kMaxHeaderBytes));
  }
  return {begin, begin + static_cast<std::size_t>(length)};
}

}  // namespace

FileTensor parse_npy(std::span<const std::byte> bytes, const std::string& path) {
  const Header header = locate_header(bytes, path);
  const std::span<const std::byte> dict = bytes.subspan(header.begin, header.end - header.begin);
  FileTensor tensor;
  HeaderParser({reinterpret_cast<const char*>(dict.data()), dict.size()}, header.begin, path)
      .parse(tensor);

  const auto bits = static_cast<unsigned>(8 * dtype_size(tensor.dtype));
  const std::optional<std::uint64_t> count = element_count(tensor.shape);
  const std::optional<std::uint64_t> nbytes = count ? byte_count(*count, bits) : std::nullopt;
  if (!nbytes)
    malformed(path, header.begin, "the shape " + shape_text(tensor.shape) + " overflows");

  const std::span<const std::byte> elements = bytes.subspan(header.end);
  if (*nbytes > elements.size()) {
    malformed(path, bytes.size(),
              "the file ends after " + std::to_string(elements.size()) + " of " +
                  counted(*nbytes, "data byte"));
  }
  if (*nbytes < elements.size()) {
    malformed(
        path, header.end + *nbytes,
        "the file goes on for " + counted(elements.size() - *nbytes, "byte") + " after the data");
  }
  tensor.data = elements.data();
  tensor.nbytes = elements.size();
  return tensor;
}

}  // namespace rapt::io

namespace rapt {

NpyFile::NpyFile(const std::string& path) {
  struct Contents {
    std::shared_ptr<const io::MappedFile> mapping;
    FileTensor tensor;
  };
  io::reporting_out_of_memory(path, [&] {
    std::shared_ptr<const io::MappedFile> mapping = io::map_file(path);
    FileTensor tensor = io::parse_npy(mapping->bytes(), path);
    const auto contents =
        std::make_shared<const Contents>(Contents{std::move(mapping), std::move(tensor)});
    tensor_ = {contents, &contents->tensor};
  });
}

const FileTensor& NpyFile::tensor() const {
  if (tensor_ == nullptr)
    throw Error(ErrorCode::invalid_argument, SentenceLiteral("file: was moved from"));
  return *tensor_;
}

}  // namespace rapt
