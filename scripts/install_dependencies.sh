#!/usr/bin/env bash
# Installs what building and testing Rapt needs, through apt; does nothing when all of it is there.
# Usage: scripts/install_dependencies.sh [ci]        ci: also what .ci/run needs
# As root, or as a user who may use sudo.
set -euo pipefail
. "$(dirname "$0")/common.sh"

packages=(
  g++ meson ninja-build pkg-config
  dpkg-dev                                           # tells Meson where Debian looks for libraries
  libxsimd-dev libtbb-dev nlohmann-json3-dev libcli11-dev libfmt-dev
  doctest-dev libbenchmark-dev
)
if [ "${1:-}" = ci ]; then
  packages+=(
    clang libclang-rt-14-dev clang-format clang-tidy   # a second compiler, fuzzing, layout, checks
    qemu-user g++-aarch64-linux-gnu llvm-19            # other processors, and predicting them
    cmake                                              # a user of the installed library
    xz-utils                                           # TBB from its source, for ThreadSanitizer
    python3-pip ca-certificates                        # the trained model of the MiniLM test
  )
elif [ $# -gt 0 ]; then
  fail "unknown argument '$1': the only one is 'ci'"
fi

command -v apt-get >/dev/null ||
  fail "this system has no apt: install the equivalents of ${packages[*]}"

missing=()
for package in "${packages[@]}"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null || true)
  [ "$state" = installed ] || missing+=("$package")
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" != 0 ]; then
  command -v sudo >/dev/null ||
    fail "missing ${missing[*]}: run this as root, or install sudo"
  as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
apt() {
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -q -o Acquire::Retries=3 "$@" 2>&1 |
    tee -a "$log"
}

echo "installing ${missing[*]}"
# An index that cannot be refreshed may still be good enough: the install decides.
apt update || true
apt install --yes --no-install-recommends "${missing[@]}" || {
  reason=$(grep -m 1 'Failed to fetch' "$log" || grep -m 1 '^E:' "$log" || echo "no reason given")
  fail "apt could not install ${missing[*]}: is the network reachable? (${reason#[EW]: })"
}
