// An output file must not be one of the command's inputs, or where it prints.
#pragma once

#include <string>
#include <vector>

namespace rapt::tools {

/// An input file of the command, and its name in sentences.
struct InputFile {
  std::string name;  ///< such as "--input"
  std::string path;
};

/// Throws UsageError naming `flag` if the output file at `path` is one of `inputs`, or where
/// standard output or error goes, by any name. "" is no file.
void check_output(const std::string& flag, const std::string& path,
                  const std::vector<InputFile>& inputs);

}  // namespace rapt::tools
