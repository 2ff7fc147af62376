// The heat maps as one SVG picture: a grid of maps, words on both axes, a legend.
#include "demo/heat_map.hpp"
#include "text/columns.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

namespace rapt::tools {
namespace {

struct Colour {
  double red, green, blue;
};

/// White over blue to deep violet: lightness decreases steadily, so that the picture remains
/// readable in grey and with any colour blindness.
constexpr std::array<Colour, 5> kScale = {
    {{250, 250, 247}, {190, 219, 227}, {104, 164, 201}, {52, 92, 160}, {44, 22, 88}}};

std::string colour_of(double weight) {
  const double place = std::clamp(weight, 0.0, 1.0) * static_cast<double>(kScale.size() - 1);
  const auto low = std::min(static_cast<std::size_t>(place), kScale.size() - 2);
  const double t = place - static_cast<double>(low);
  const Colour& a = kScale[low];
  const Colour& b = kScale[low + 1];
  const auto mix = [t](double x, double y) {
    return static_cast<int>(std::lround(x + t * (y - x)));
  };
  return fmt::format("#{:02x}{:02x}{:02x}", mix(a.red, b.red), mix(a.green, b.green),
                     mix(a.blue, b.blue));
}

std::string escaped(const std::string& text) {
  std::string result;
  for (const char c : text) {
    if (c == '&') {
      result += "&amp;";
    } else if (c == '<') {
      result += "&lt;";
    } else if (c == '>') {
      result += "&gt;";
    } else if (c == '"') {
      result += "&quot;";
    } else {
      result += c;
    }
  }
  return result;
}

/// The positions of the picture's parts, in pixels.
struct Layout {
  std::size_t tokens, heads, columns, rows;
  double cell, label, margin, top, map_side, head_width, head_height, width, height;
};

Layout lay_out(const std::vector<std::string>& words, std::size_t heads) {
  Layout at{};
  at.tokens = words.size();
  at.heads = heads;
  at.cell = at.tokens <= 8 ? 46 : at.tokens <= 16 ? 34 : at.tokens <= 40 ? 18 : 10;
  std::size_t longest = 2;
  for (const std::string& word : words) longest = std::max(longest, display_width(word));
  at.label = 7.2 * static_cast<double>(std::min<std::size_t>(longest, 12)) + 14;
  at.margin = 28;
  at.top = 92;
  at.map_side = at.cell * static_cast<double>(at.tokens);
  at.head_width = at.label + at.map_side + at.margin;
  at.head_height = 30 + at.label + at.map_side + at.margin;
  at.columns = heads <= 3 ? heads : static_cast<std::size_t>(std::ceil(std::sqrt(double(heads))));
  at.rows = (heads + at.columns - 1) / at.columns;
  const double maps = at.margin + static_cast<double>(at.columns) * at.head_width;
  at.width = std::max(maps, 470.0);
  at.height = at.top + static_cast<double>(at.rows) * at.head_height + 62;
  return at;
}

std::string cells(const Layout& at, TensorView<const float, 2> weights) {
  std::string svg;
  const bool numbers = at.cell >= 34;
  for (std::size_t i = 0; i < at.tokens; ++i) {
    for (std::size_t j = 0; j < at.tokens; ++j) {
      const double weight = static_cast<double>(weights(i, j));
      const double x = at.label + at.cell * static_cast<double>(j);
      const double y = at.label + at.cell * static_cast<double>(i);
      svg += fmt::format(
          "<rect x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" height=\"{:.1f}\" "
          "fill=\"{}\"/>\n",
          x, y, at.cell - 1, at.cell - 1, colour_of(weight));
      if (!numbers) continue;
      svg += fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" class=\"n\" fill=\"{}\">{:.2f}</text>\n",
                         x + (at.cell - 1) / 2, y + at.cell / 2 + 4,
                         weight > 0.45 ? "#ffffff" : "#26303a", weight);
    }
  }
  return svg;
}

std::string axes(const Layout& at, const std::vector<std::string>& words) {
  std::string svg;
  const double size = std::min(12.5, at.cell - 1.5);
  for (std::size_t i = 0; i < at.tokens; ++i) {
    const std::string word = escaped(shortened(words[i], 12));
    const double middle = at.label + at.cell * (static_cast<double>(i) + 0.5);
    svg += fmt::format(
        "<text x=\"{:.1f}\" y=\"{:.1f}\" text-anchor=\"end\" font-size=\"{:.1f}\">"
        "{}</text>\n",
        at.label - 7, middle + 0.35 * size, size, word);
    svg += fmt::format(
        "<text transform=\"translate({:.1f} {:.1f}) rotate(-90)\" "
        "font-size=\"{:.1f}\">{}</text>\n",
        middle + 0.35 * size, at.label - 7, size, word);
  }
  return svg;
}

std::string legend(const Layout& at) {
  constexpr double kWidth = 240;
  constexpr double kHeight = 12;
  const double y = at.height - 50;
  std::string svg = fmt::format("<g transform=\"translate({:.1f} {:.1f})\">\n", at.margin + 14, y);
  svg += "<defs><linearGradient id=\"scale\">\n";
  for (std::size_t i = 0; i < kScale.size(); ++i) {
    const double place = static_cast<double>(i) / static_cast<double>(kScale.size() - 1);
    svg += fmt::format("<stop offset=\"{:.2f}\" stop-color=\"{}\"/>\n", place, colour_of(place));
  }
  svg += fmt::format(
      "</linearGradient></defs>\n<rect width=\"{}\" height=\"{}\" "
      "fill=\"url(#scale)\" stroke=\"#b8c0c8\" stroke-width=\"0.7\"/>\n",
      kWidth, kHeight);
  for (int i = 0; i <= 4; ++i) {
    svg += fmt::format(
        "<text x=\"{:.1f}\" y=\"27\" text-anchor=\"middle\" font-size=\"11\">"
        "{:.2f}</text>\n",
        kWidth * i / 4, 0.25 * i);
  }
  svg += fmt::format("<text x=\"{}\" y=\"11\" font-size=\"12\">attention weight</text>\n</g>\n",
                     kWidth + 16);
  return svg;
}

std::string head_map(const Layout& at, const std::vector<std::string>& words, std::size_t head,
                     TensorView<const float, 2> weights) {
  const double x = at.margin + static_cast<double>(head % at.columns) * at.head_width;
  const double y = at.top + static_cast<double>(head / at.columns) * at.head_height;
  std::string svg = fmt::format("<g transform=\"translate({:.1f} {:.1f})\">\n", x, y);
  svg += fmt::format(
      "<text x=\"{:.1f}\" y=\"14\" font-size=\"15\" font-weight=\"600\">head {}</text>"
      "\n<g transform=\"translate(0 22)\">\n",
      at.label, head);
  svg += cells(at, weights) + axes(at, words);
  return svg + "</g>\n</g>\n";
}

}  // namespace

std::string svg_heat_maps(const std::string& title, const std::string& subtitle,
                          const std::vector<std::string>& words,
                          TensorView<const float, 3> weights) {
  const Layout at = lay_out(words, static_cast<std::size_t>(weights.shape[0]));
  std::string svg = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0:.0f}\" height=\"{1:.0f}\" "
      "viewBox=\"0 0 {0:.0f} {1:.0f}\" font-family=\"Helvetica, Arial, sans-serif\" "
      "fill=\"#26303a\">\n"
      "<style>.n{{font-size:11.5px;text-anchor:middle}}</style>\n"
      "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n",
      at.width, at.height);
  const auto fitting = static_cast<std::size_t>(at.width / 9.5);
  svg += fmt::format("<text x=\"{:.0f}\" y=\"38\" font-size=\"20\" font-weight=\"600\">{}</text>\n",
                     at.margin, escaped(shortened(title, fitting)));
  svg += fmt::format("<text x=\"{:.0f}\" y=\"62\" font-size=\"13\" fill=\"#5b6670\">{}</text>\n",
                     at.margin, escaped(subtitle));
  for (std::size_t head = 0; head < at.heads; ++head) {
    const auto slice = weights.sliced(0, static_cast<std::int64_t>(head), 1);
    const TensorView<const float, 2> map(slice.data, {weights.shape[1], weights.shape[2]},
                                         {weights.strides[1], weights.strides[2]});
    svg += head_map(at, words, head, map);
  }
  return svg + legend(at) + "</svg>\n";
}

}  // namespace rapt::tools
