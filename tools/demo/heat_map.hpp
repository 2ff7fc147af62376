// Attention weights as pictures: shades and numbers for a terminal, SVG for everything else.
#pragma once

#include "rapt/tensor.hpp"

#include <cstddef>
#include <string>
#include <vector>

namespace rapt::tools {

/// The most words of a heat map with numbers, with shades only, and as SVG.
inline constexpr std::size_t kMaxNumbered = 10;
inline constexpr std::size_t kMaxShaded = 28;
inline constexpr std::size_t kMaxDrawn = 128;

/// Whether standard output is a terminal that may be coloured: NO_COLOR is unset or empty, and TERM
/// is not "dumb".
bool terminal_has_colour();

/// The lines of one head's heat map, each ending in a newline: a line of key words, then one line
/// per query. `weights`: [q_len, kv_len], each in [0, 1], both lengths words.size(), at most
/// kMaxShaded. A shade represents a fifth: ' ' below 0.2, then '░', '▒', '▓', '█'; without numbers
/// it is relative to the map's largest weight. With `colour` the cells have a background of the
/// xterm palette instead.
std::vector<std::string> terminal_heat_map(const std::vector<std::string>& words,
                                           TensorView<const float, 2> weights, bool colour);

/// One picture with a heat map per head, words on both axes, numbers in the cells where they fit,
/// and the legend of the scale.
///   weights: [heads, q_len, kv_len], both lengths words.size(), at most kMaxDrawn.
std::string svg_heat_maps(const std::string& title, const std::string& subtitle,
                          const std::vector<std::string>& words,
                          TensorView<const float, 3> weights);

}  // namespace rapt::tools
