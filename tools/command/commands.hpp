// The subcommands of `rapt`, each in the file of its name.
#pragma once

namespace CLI {
class App;
}

namespace rapt::tools {

void add_info(CLI::App& app);
void add_run(CLI::App& app);
void add_check(CLI::App& app);
void add_bench(CLI::App& app);
void add_compare(CLI::App& app);

}  // namespace rapt::tools
