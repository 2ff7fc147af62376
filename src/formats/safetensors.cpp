// Reading .safetensors: checks the length of the header, and its entries against the bytes of the
// file.
#include "formats/safetensors.hpp"

#include "core/counted.hpp"
#include "core/out_of_memory.hpp"
#include "formats/malformed.hpp"
#include "formats/mapped_file.hpp"

#include <algorithm>
#include <memory>
#include <numeric>
#include <tuple>
#include <utility>

namespace rapt::io {
namespace {

using core::counted;

/// Checks the length before the header and returns the header's text.
std::string_view locate_header(std::span<const std::byte> bytes, const std::string& path) {
  if (bytes.size() < kHeaderLengthBytes) {
    malformed(path, bytes.size(), "the file ends inside its header length");
  }
  // Compared without adding to it: a length near 2^64 must not wrap.
  const std::uint64_t length = little_endian(bytes.first(kHeaderLengthBytes));
  if (length > kMaxHeaderBytes) {
    malformed(path, 0,
              "a header of " + std::to_string(length) + " bytes is longer than the limit of " +
                  std::to_string(kMaxHeaderBytes));
  }
  if (length > bytes.size() - kHeaderLengthBytes) {
    malformed(path, 0,
              "a header of " + counted(length, "byte") + " passes the end of the file (" +
                  counted(bytes.size(), "byte") + ")");
  }
  return {reinterpret_cast<const char*>(bytes.data()) + kHeaderLengthBytes,
          static_cast<std::size_t>(length)};
}

/// Offsets in order, inside the data, and of the length that type and shape need.
void check_size(const HeaderTensor& tensor, std::uint64_t data_bytes, const std::string& path) {
  const auto fail = [&](const std::string& what) {
    malformed(path, tensor.at, "tensor " + quote(tensor.name) + ": " + what);
  };
  // Strings are built for errors only: a file may have a quarter of a million tensors.
  const auto offsets = [&] {
    return "data_offsets [" + std::to_string(tensor.begin) + ", " + std::to_string(tensor.end) +
           "]";
  };
  const auto shape = [&] { return "shape " + shape_text(tensor.shape); };
  if (tensor.begin > tensor.end) fail(offsets() + " end before they begin");
  if (tensor.end > data_bytes) {
    fail(offsets() + " pass the end of the " + counted(data_bytes, "data byte"));
  }
  const std::optional<std::uint64_t> count = element_count(tensor.shape);
  if (!count) fail(shape() + " overflows");
  if (*count % 8 * tensor.bits % 8 != 0) fail(shape() + " does not fill whole bytes");
  const std::optional<std::uint64_t> needed = byte_count(*count, tensor.bits);
  if (!needed) fail(shape() + " overflows");
  if (*needed != tensor.end - tensor.begin) {
    fail(shape() + " needs " + counted(*needed, "byte") + ", but " + offsets() + " hold " +
         std::to_string(tensor.end - tensor.begin));
  }
}

/// Each tensor must start where the previous one ends, the first at 0, the last ending with the
/// file. `tensors` are in the order of their data.
void check_cover(std::span<const HeaderTensor> tensors, std::uint64_t data_begin,
                 std::uint64_t data_bytes, const std::string& path) {
  std::uint64_t covered = 0;
  for (const HeaderTensor& tensor : tensors) {
    if (tensor.begin != covered) {
      malformed(path, tensor.at,
                "tensor " + quote(tensor.name) + " begins at data offset " +
                    std::to_string(tensor.begin) +
                    (tensor.begin < covered ? ", inside the tensor before it that ends at "
                                            : ", after a hole that starts at ") +
                    std::to_string(covered));
    }
    covered = tensor.end;
  }
  if (covered != data_bytes) {
    malformed(
        path, data_begin + covered,
        "the file goes on for " + counted(data_bytes - covered, "byte") + " after the last tensor");
  }
}

}  // namespace

std::vector<FileTensor> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::string& path) {
  const std::string_view json = locate_header(bytes, path);
  std::vector<HeaderTensor> entries = parse_safetensors_header(json, path);
  const std::size_t data_begin = kHeaderLengthBytes + json.size();
  const std::span<const std::byte> elements = bytes.subspan(data_begin);

  for (const HeaderTensor& entry : entries) check_size(entry, elements.size(), path);
  // Empty tensors at one offset keep the header's order.
  std::sort(entries.begin(), entries.end(), [](const HeaderTensor& a, const HeaderTensor& b) {
    return std::tie(a.begin, a.end, a.at) < std::tie(b.begin, b.end, b.at);
  });
  check_cover(entries, data_begin, elements.size(), path);

  std::vector<FileTensor> tensors;
  tensors.reserve(entries.size());
  for (HeaderTensor& entry : entries) {
    const auto begin = static_cast<std::size_t>(entry.begin);
    const auto nbytes = static_cast<std::size_t>(entry.end - entry.begin);
    tensors.push_back({.name = std::move(entry.name),
                       .dtype = entry.dtype,
                       .shape = std::move(entry.shape),
                       .data = elements.data() + begin,
                       .nbytes = nbytes,
                       .type_word = entry.type_word});
  }
  return tensors;
}

}  // namespace rapt::io

namespace rapt {

struct SafetensorsFile::Contents {
  std::string path;
  std::shared_ptr<const io::MappedFile> mapping;
  std::vector<FileTensor> tensors;
  std::vector<std::uint32_t> by_name;  // indices into tensors, sorted by name

  explicit Contents(const std::string& path_)
      : path(path_),
        mapping(io::map_file(path)),
        tensors(io::parse_safetensors(mapping->bytes(), path)),
        by_name(tensors.size()) {
    std::iota(by_name.begin(), by_name.end(), 0u);
    std::sort(by_name.begin(), by_name.end(), [this](std::uint32_t a, std::uint32_t b) {
      return tensors[a].name < tensors[b].name;
    });
  }
};

SafetensorsFile::SafetensorsFile(const std::string& path) {
  io::reporting_out_of_memory(path, [&] { contents_ = std::make_shared<const Contents>(path); });
}

const SafetensorsFile::Contents& SafetensorsFile::contents() const {
  if (contents_ == nullptr)
    throw Error(ErrorCode::invalid_argument, SentenceLiteral("file: was moved from"));
  return *contents_;
}

const std::vector<FileTensor>& SafetensorsFile::tensors() const& { return contents().tensors; }

const FileTensor* SafetensorsFile::find(std::string_view name) const {
  const std::vector<FileTensor>& tensors = contents().tensors;
  const std::vector<std::uint32_t>& by_name = contents().by_name;
  const auto found = std::lower_bound(
      by_name.begin(), by_name.end(), name,
      [&](std::uint32_t i, std::string_view wanted) { return tensors[i].name < wanted; });
  if (found == by_name.end() || tensors[*found].name != name) return nullptr;
  return &tensors[*found];
}

const FileTensor& SafetensorsFile::at(std::string_view name) const try {
  if (const FileTensor* const tensor = find(name)) return *tensor;
  throw Error(ErrorCode::invalid_argument,
              "name: no tensor " + io::quote(name) + " in the file " + contents().path);
} catch (const std::bad_alloc&) {
  core::fail_out_of_memory();
}

}  // namespace rapt
