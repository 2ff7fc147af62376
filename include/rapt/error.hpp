// The one exception type of the library.
#pragma once

#include "rapt/export.hpp"

#include <memory>
#include <stdexcept>
#include <string>
#include <utility>

namespace rapt {

enum class ErrorCode {
  invalid_argument,  ///< A shape, stride, count or option that the call cannot accept.
  unsupported_isa,   ///< An instruction set that is unknown, not compiled in, or not on this CPU.
  out_of_memory,     ///< A buffer could not be allocated; nothing was changed.
  file_error,        ///< A file that is missing or cannot be read.
  malformed_file,    ///< A file whose contents break its format.
  cache_full,        ///< A cache whose budget has no page left; nothing was changed.
};

/// A sentence that is part of the program, so that an Error needs no memory for it.
class SentenceLiteral {
 public:
  consteval explicit SentenceLiteral(const char* text) : text_(text) {}
  constexpr const char* text() const noexcept { return text_; }

 private:
  const char* text_;
};

/// What every function of Rapt throws: a code to branch on and one sentence that names the argument
/// and its values. The library never prints and never aborts. If there is no memory for the
/// sentence of an error with any code, out_of_memory is thrown instead, with a shorter sentence.
class RAPT_API Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& sentence)
      : Error(code, std::make_shared<const std::string>(sentence)) {}
  Error(ErrorCode code, SentenceLiteral sentence)
      : std::runtime_error(""), code_(code), what_(sentence.text()) {}

  // Copied even where it could be moved: an error keeps its sentence as long as it lives.
  Error(const Error&) noexcept = default;
  Error& operator=(const Error&) noexcept = default;

  ErrorCode code() const noexcept { return code_; }
  const char* what() const noexcept override { return what_; }

 private:
  // runtime_error is the base for its type only: its empty text takes no memory.
  Error(ErrorCode code, std::shared_ptr<const std::string> sentence)
      : std::runtime_error(""), code_(code), sentence_(std::move(sentence)) {
    what_ = sentence_->c_str();
  }

  ErrorCode code_;
  std::shared_ptr<const std::string> sentence_;
  const char* what_ = "";
};

}  // namespace rapt
