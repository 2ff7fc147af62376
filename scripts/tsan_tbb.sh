#!/usr/bin/env bash
# Builds Debian's oneTBB from its source, instrumented for ThreadSanitizer. Without it every transfer
# of work from one thread to another inside TBB looks like a race.
# Usage: scripts/tsan_tbb.sh FOLDER        then LD_LIBRARY_PATH=FOLDER/lib
set -euo pipefail
. "$(dirname "$0")/common.sh"

[ $# = 1 ] || fail "usage: $0 FOLDER"

mkdir -p "$1"
folder=$(cd "$1" && pwd)
if [ -f "$folder/lib/libtbb.so.12" ]; then exit 0; fi
rm -rf "${folder:?}"/{apt,lib,objects,source}
mkdir "$folder"/{lib,objects,source}

apt_with_own_state "$folder/apt" "$(dpkg --print-architecture)" deb-src
(cd "$folder/apt" && { apt_get update || true; } && apt_get source --download-only onetbb) ||
  fail "cannot download the source of onetbb: is the network reachable?"
tar --extract --file "$folder"/apt/onetbb_*.orig.tar.* --directory "$folder/source" --strip-components=1

cd "$folder/source"
printf '%s\n' src/tbb/*.cpp | xargs --max-procs="$(nproc)" --replace={} sh -c '
  g++ -std=c++20 -O1 -g1 -w -fPIC -fsanitize=thread -mrtm -mwaitpkg -D__TBB_BUILD -Iinclude \
    -c "$1" -o "$2/$(basename "$1" .cpp).o"' sh {} "$folder/objects"
g++ -shared -fsanitize=thread -Wl,-soname,libtbb.so.12 -o "$folder/lib/libtbb.so.12.part" \
  "$folder"/objects/*.o -ldl
rm -rf "$folder/apt" "$folder/objects" "$folder/source"
mv "$folder/lib/libtbb.so.12.part" "$folder/lib/libtbb.so.12"
