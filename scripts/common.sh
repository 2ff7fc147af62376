# Sourced by the other scripts: the source root, how to fail, and which build tools to use.
# shellcheck shell=bash

RAPT_ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Ends the script with one sentence on stderr.
fail() {
  echo "$(basename "$0"): $*" >&2
  exit 1
}

# Debian's Meson and Ninja, even where another Python's come first in PATH.
meson() {
  if [ -x /usr/bin/meson ]; then
    if [ -x /usr/bin/ninja ]; then export NINJA=/usr/bin/ninja; fi
    /usr/bin/meson "$@"
  else
    command meson "$@"
  fi
}

# Configures the build folder $1 with the Meson options that follow; an existing folder is kept
# and gets the options.
configure() {
  local folder=$1
  shift
  if [ ! -f "$folder/build.ninja" ]; then
    # A folder without build.ninja is a setup that failed half-way.
    rm -rf "$folder"
    meson setup "$folder" "$RAPT_ROOT" "$@"
  elif [ $# -gt 0 ]; then
    meson configure "$folder" "$@"
  fi
}

# Prepares apt_get to work with lists and caches of its own in folder $1, for architecture $2 and package
# kind $3 (deb or deb-src), so that the system's stay as they are.
apt_with_own_state() {
  local state=$1 architecture=$2 kind=$3 file
  mkdir -p "$state/lists/partial" "$state/cache/archives/partial" "$state/sources"
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
    [ -f "$file" ] || continue
    sed -E "s/^deb[[:space:]]/$kind /; s/^Types:.*/Types: $kind/" "$file" \
      > "$state/sources/$(basename "$file")"
  done
  apt_options=(
    -q -o "APT::Architecture=$architecture" -o "APT::Architectures=$architecture"
    -o Dir::Etc::sourcelist=/dev/null -o "Dir::Etc::sourceparts=$state/sources"
    -o "Dir::State::lists=$state/lists" -o "Dir::Cache=$state/cache" -o Acquire::Retries=3
    -o APT::Sandbox::User=root
  )
}

apt_get() {
  apt-get "${apt_options[@]}" "$@"
}
