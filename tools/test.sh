#!/usr/bin/env bash
# Builds Rapt in build/, optimised, and runs the whole test suite. Installs what is missing (Debian and
# Ubuntu).
# Usage: tools/test.sh [options of `meson setup`]
set -euo pipefail
. "$(dirname "$0")/../scripts/common.sh"

"$RAPT_ROOT/scripts/install_dependencies.sh"
configure "$RAPT_ROOT/build" -Dtests=enabled -Dtools=enabled -Dbenchmarks=enabled "$@"
meson compile -C "$RAPT_ROOT/build"
meson test -C "$RAPT_ROOT/build" --verbose
