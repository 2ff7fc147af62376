#!/usr/bin/env bash
# Unpacks the aarch64 libraries that Rapt links against into a folder, and writes FOLDER/sysroot.ini,
# which cross/aarch64-linux-gnu.ini builds on. They come from the machine's own Debian mirror, checked
# by apt; nothing is installed, no root is needed.
# Usage: scripts/aarch64_sysroot.sh FOLDER
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || fail "usage: $0 FOLDER"
packages=(libtbb-dev libtbb12 libxsimd-dev libfmt-dev libfmt9)

mkdir -p "$1"
folder=$(cd "$1" && pwd)
if [ -f "$folder/sysroot.ini" ]; then exit 0; fi

apt_with_own_state "$folder/apt" arm64 deb
(cd "$folder/apt" && { apt_get update || true; } && apt_get download "${packages[@]}") ||
  fail "cannot download ${packages[*]} for arm64: is the network reachable?"
for package in "$folder"/apt/*.deb; do
  dpkg-deb --extract "$package" "$folder"
done
# The packages' pkg-config files name /usr; they are under the folder now.
sed -i "s|=/usr|=$folder/usr|" "$folder"/usr/lib/aarch64-linux-gnu/pkgconfig/*.pc
rm -rf "$folder/apt"
printf '[constants]\nsysroot = %s\n' "'$folder'" > "$folder/sysroot.ini"
