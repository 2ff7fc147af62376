// The heat maps in characters: numbers with shades, or shades alone for many words.
#include "demo/heat_map.hpp"
#include "text/columns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <string_view>
#include <unistd.h>

namespace rapt::tools {
namespace {

constexpr std::size_t kLabelWidth = 11;
constexpr std::size_t kMinCell = 6;
constexpr std::size_t kMaxCell = 10;

std::string_view shade(float weight) {
  static constexpr std::array<std::string_view, 5> kShades = {" ", "░", "▒", "▓", "█"};
  return kShades[static_cast<std::size_t>(std::clamp(weight * 5.0f, 0.0f, 4.0f))];
}

/// A background from near black over blue-green to yellow, with a readable foreground.
std::string coloured(float weight, const std::string& cell) {
  static constexpr std::array<int, 8> kPalette = {234, 17, 18, 24, 30, 36, 78, 227};
  const auto step = static_cast<std::size_t>(std::clamp(weight * 8.0f, 0.0f, 7.0f));
  return fmt::format("\x1b[48;5;{};38;5;{}m{}\x1b[0m", kPalette[step], step >= 5 ? 16 : 255, cell);
}

std::string repeated(std::string_view text, std::size_t count) {
  std::string result;
  for (std::size_t i = 0; i < count; ++i) result += text;
  return result;
}

/// Removes trailing spaces.
std::string finished(std::string line) {
  line.erase(line.find_last_not_of(' ') + 1);
  return line + "\n";
}

/// "0.43▒▒▒" in `width` columns, or the number on its colour.
std::string numbered_cell(float weight, std::size_t width, bool colour) {
  const std::string number = fmt::format("{:.2f}", weight);
  if (colour) return coloured(weight, " " + number + std::string(width - number.size() - 1, ' '));
  return number + repeated(shade(weight), width - number.size());
}

std::vector<std::string> numbered(const std::vector<std::string>& words,
                                  TensorView<const float, 2> weights, bool colour) {
  std::size_t longest = kMinCell;
  for (const std::string& word : words) longest = std::max(longest, display_width(word));
  const std::size_t cell = words.size() > 6 ? kMinCell : std::min(longest, kMaxCell);
  std::vector<std::string> lines;
  std::string line(kLabelWidth + 1, ' ');
  for (const std::string& word : words) line += padded(word, cell) + " ";
  lines.push_back(finished(line));
  for (std::size_t i = 0; i < words.size(); ++i) {
    line = padded(words[i], kLabelWidth, true) + " ";
    for (std::size_t j = 0; j < words.size(); ++j) {
      line += numbered_cell(weights(i, j), cell, colour) + " ";
    }
    lines.push_back(line + "\n");
  }
  return lines;
}

std::vector<std::string> shaded(const std::vector<std::string>& words,
                                TensorView<const float, 2> weights, bool colour) {
  // With many words each weight is small: on a scale that ends at 1 all shades would be blank.
  float largest = 0.0f;
  for (std::size_t i = 0; i < words.size(); ++i) {
    for (std::size_t j = 0; j < words.size(); ++j) largest = std::max(largest, weights(i, j));
  }
  const float scale = largest > 0.0f ? 1.0f / largest : 0.0f;
  std::vector<std::string> lines;
  std::string line(kLabelWidth + 4, ' ');
  for (std::size_t j = 0; j < words.size(); ++j) line += fmt::format("{:>2} ", j);
  lines.push_back(finished(line));
  for (std::size_t i = 0; i < words.size(); ++i) {
    line = fmt::format("{} {:>2} ", padded(words[i], kLabelWidth, true), i);
    for (std::size_t j = 0; j < words.size(); ++j) {
      const float weight = weights(i, j) * scale;
      line += colour ? coloured(weight, "  ") : repeated(shade(weight), 2);
      line += " ";
    }
    lines.push_back(finished(line));
  }
  return lines;
}

}  // namespace

bool terminal_has_colour() {
  const char* const no_colour = std::getenv("NO_COLOR");
  const char* const terminal = std::getenv("TERM");
  if (no_colour != nullptr && *no_colour != '\0') return false;
  if (terminal == nullptr || std::string_view(terminal) == "dumb") return false;
  return isatty(STDOUT_FILENO) == 1;
}

std::vector<std::string> terminal_heat_map(const std::vector<std::string>& words,
                                           TensorView<const float, 2> weights, bool colour) {
  return words.size() <= kMaxNumbered ? numbered(words, weights, colour)
                                      : shaded(words, weights, colour);
}

}  // namespace rapt::tools
