// A file that is to be written must not be one that the command reads, or prints to.
#pragma once

#include <string>
#include <vector>

namespace rapt::tools {

/// A file that the command reads, and what it is called in a sentence.
struct InputFile {
  std::string name;  ///< such as "--input"
  std::string path;
};

/// Throws UsageError naming `flag` when the file at `path`, which it is to write, is one of
/// `inputs` or where standard output or error goes, by whatever names. "" is no file.
void check_output(const std::string& flag, const std::string& path,
                  const std::vector<InputFile>& inputs);

}  // namespace rapt::tools
