// The command `rapt check`.
#pragma once

namespace CLI {
class App;
}

namespace rapt::tools {

/// Registers `check DIR... [--isa X|all] [--json]`. Its callback throws CLI::RuntimeError{1} after
/// the report when a case failed, UsageError for an ISA that cannot run here or a folder without
/// cases.
void add_check(CLI::App& app);

}  // namespace rapt::tools
