#!/usr/bin/env bash
# Compares the speed and bits of two commits: builds both, times their public functions alternately, and
# names those that are slower beyond noise, with exit status 1.
# Usage: benchmarks/guard.sh BASE [HEAD] [-- arguments of guard.py]
#        HEAD: a commit, or '.' for the working tree as it is (default: HEAD)
# About 8 minutes, after two builds of the library. Use a quiet machine: two builds of one commit
# (BASE = HEAD) show its noise.
set -euo pipefail
. "$(dirname "$0")/../scripts/common.sh"

[ $# -ge 1 ] || fail "needs a commit to compare with, as in: benchmarks/guard.sh main~1"
base=$1
head=HEAD
shift
if [ $# -gt 0 ] && [ "$1" != -- ]; then
  head=$1
  shift
fi
if [ "${1:-}" = -- ]; then shift; fi

folder=$RAPT_ROOT/build-guard
mkdir -p "$folder"

# Builds the library of commit $2 and a worker with it; the sources are kept for the next run.
build_worker() {
  local side=$folder/$1 commit=$2 source
  if [ "$commit" = . ]; then
    source=$RAPT_ROOT
  else
    commit=$(git -C "$RAPT_ROOT" rev-parse --verify --quiet "$commit^{commit}") ||
      fail "$2 is no commit of this repository"
    source=$side/source
    mkdir -p "$source"
    # Not a git worktree: nothing is left in the repository.
    git -C "$RAPT_ROOT" archive "$commit" | tar -x -C "$source" --overwrite
  fi
  [ -f "$side/build/build.ninja" ] ||
    meson setup "$side/build" "$source" -Dtests=disabled -Dtools=disabled -Dbenchmarks=disabled \
      -Dexamples=disabled
  meson compile -C "$side/build"
  # One source for both sides: the sizes and the clock are the same.
  "${CXX:-g++}" -std=c++20 -O2 -I "$source/include" -o "$side/worker" \
    "$RAPT_ROOT/benchmarks/guard_worker.cpp" "$RAPT_ROOT/benchmarks/guard_cells.cpp" \
    -L "$side/build/src" -lrapt -ltbb -Wl,-rpath,"$side/build/src"
}

build_worker base "$base"
build_worker head "$head"
exec python3 "$RAPT_ROOT/benchmarks/guard.py" "$folder/base/worker" "$folder/head/worker" "$@"
