#!/usr/bin/env bash
# Builds Rapt in build/ and demonstrates it: one text through multi-head attention, then every instruction set
# of this machine on the same work. Installs what is missing (Debian and Ubuntu).
# Usage: tools/run.sh [arguments of `rapt run`]
set -euo pipefail
. "$(dirname "$0")/../scripts/common.sh"

"$RAPT_ROOT/scripts/install_dependencies.sh"
configure "$RAPT_ROOT/build"
# The command alone: tests and benchmarks are built by tools/test.sh.
meson compile -C "$RAPT_ROOT/build" tools/rapt:executable

rapt=$RAPT_ROOT/build/tools/rapt
"$rapt" run "$@"
"$rapt" compare
