// Reading tensors from .npy and .safetensors files: memory-mapped, checked, without copies.
// Every malformed file is an error. A file that another process truncates or rewrites while it is
// open here is out of scope (the system raises SIGBUS): replace model files by renaming a new one
// over them.
#pragma once

#include "rapt/dtype.hpp"
#include "rapt/export.hpp"
#include "rapt/tensor.hpp"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace rapt {

/// One tensor of an open file: valid as long as the file object exists.
struct RAPT_API FileTensor {
  std::string name;  ///< empty for .npy
  DType dtype = DType::other;
  std::vector<std::int64_t> shape;
  const std::byte* data = nullptr;  ///< dense, row-major, little endian; any alignment
  std::size_t nbytes = 0;
  std::string_view type_word{};  ///< as .safetensors spells the type: "F8_E4M3"; empty for .npy

  /// The elements in place. Throws Error{invalid_argument} if the type is not f32, the rank is not
  /// `Rank`, or the data is not aligned for float (use copy_as_float() then).
  template <int Rank>
  requires(Rank >= 1 && Rank <= 5) TensorView<const float, Rank> view()
  const;

  /// The same for f32, bf16 and f16, in the type of the file: Linear packs it without a copy of
  /// floats.
  template <int Rank>
  requires(Rank >= 1 && Rank <= 5) TensorView<const void, Rank> typed_view()
  const;

  /// A copy widened to float: exact for f32, f16 and bf16; f64 is rounded once. Throws
  /// Error{invalid_argument} naming the tensor and its type if it is none of these, since the
  /// integers of a quantised tensor are meaningless without their scale, and Error{out_of_memory}.
  std::vector<float> copy_as_float() const;

  /// A dequantised copy of integers: float(element) * scale, each operation rounded once.
  ///   scales  one for the whole tensor, or one for each index of the first dimension ({1.0f}: the
  ///           integers themselves)
  /// Throws Error{invalid_argument} naming the tensor for a type that is not an integer or a wrong
  /// number of scales, and Error{out_of_memory}.
  std::vector<float> copy_scaled(std::span<const float> scales) const;
};

/// A .npy file (format 1.0 to 3.0), mapped into memory. Fortran order, big-endian data, more than
/// 64 dimensions and headers of more than 65535 bytes are errors. Throws Error{file_error} (the
/// path and the system's reason) or Error{malformed_file} (the path, the byte offset and what was
/// found there). Copies share the mapping.
class RAPT_API NpyFile {
 public:
  explicit NpyFile(const std::string& path);
  /// Throws Error{invalid_argument} for a moved-from file.
  const FileTensor& tensor() const;

 private:
  std::shared_ptr<const FileTensor> tensor_;  // and the mapping that holds it
};

/// Writes a dense row-major float tensor as .npy 1.0. Throws Error{invalid_argument} for a negative
/// extent, more than 64 dimensions, a shape too large to exist or null data, before the file is
/// touched, and Error{file_error}; the file at `path` is then the old one, or none.
///
/// The new file replaces the old one when it is complete, and takes its permissions: a killed
/// process or a full disk loses nothing. So the folder must be writable, and other hard links keep
/// the old content. Symbolic links are followed; devices and pipes are written directly.
RAPT_API void write_npy(const std::string& path, const float* data,
                        const std::vector<std::int64_t>& shape);

/// A .safetensors file, mapped into memory. The whole header is read and checked first: lengths,
/// JSON, types, shapes against offsets, overlaps, holes, duplicates. Tensors are used in place.
/// Headers of more than 40,000,000 bytes, more than 262,144 tensors or metadata entries, and more
/// than 64 dimensions are errors; within these limits any file, even one crafted to be expensive,
/// opens or fails within a second and 512 MiB. Errors as for NpyFile; every member of a moved-from
/// file throws Error{invalid_argument}.
/// Format: https://github.com/huggingface/safetensors
class RAPT_API SafetensorsFile {
 public:
  explicit SafetensorsFile(const std::string& path);

  /// In the order of their data in the file. Not callable on a temporary: a loop over its tensors
  /// would read freed memory.
  const std::vector<FileTensor>& tensors() const&;
  const std::vector<FileTensor>& tensors() const&& = delete;

  /// nullptr if there is none of that name. By binary search.
  const FileTensor* find(std::string_view name) const;

  /// Throws Error{invalid_argument} naming the tensor and the file if there is none of that name.
  const FileTensor& at(std::string_view name) const;

 private:
  struct Contents;
  const Contents& contents() const;
  std::shared_ptr<const Contents> contents_;
};

}  // namespace rapt
