// The subcommands of `rapt`, each in the file of its name.
#pragma once

#include "command/command_line.hpp"

namespace rapt::tools {

void add_info(CommandLine& line);
void add_run(CommandLine& line);
void add_check(CommandLine& line);
void add_bench(CommandLine& line);
void add_compare(CommandLine& line);
void add_tune(CommandLine& line);

}  // namespace rapt::tools
