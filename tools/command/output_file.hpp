// What must hold of an output file before a command starts: it is none of the inputs, nor where the
// command prints, and it can be written.
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

/// Throws the Error with which io::write_file() would fail, if that can be foreseen: for a command
/// that works for a while before it writes. "" is no file.
void check_writable(const std::string& path);

}  // namespace rapt::tools
