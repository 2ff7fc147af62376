#!/usr/bin/env bash
# Fuzzes the readers of both file formats in parallel: fails for a crash, a leak, undefined behaviour,
# an accepted file that breaks its format's rules, 1 s or 512 MiB for one input, or too few inputs.
# Usage: scripts/fuzz_files.sh RUNS       inputs for each format; builds in build-ci/fuzz/
set -euo pipefail
. "$(dirname "$0")/common.sh"

cd "$RAPT_ROOT"
[[ ${1:-} =~ ^[1-9][0-9]*$ ]] || fail "RUNS must be a number of inputs, found '${1:-}'"
runs=$1
builds=$RAPT_ROOT/build-ci

# Fuzzes format $1 from the committed corpus; new inputs are kept in build-ci/corpus-$1.
fuzz() {
  local format=$1 log=$builds/fuzz-$1.log executed
  mkdir -p "$builds/corpus-$format"
  # Freed memory in AddressSanitizer's quarantine counts for the input: 256 MiB by default.
  ASAN_OPTIONS=detect_leaks=1:quarantine_size_mb=64 UBSAN_OPTIONS=print_stacktrace=1 \
    "$builds/fuzz/tests/fuzz_$format" -runs="$runs" -timeout=1 -rss_limit_mb=512 -max_len=4096 \
    -dict="tests/corpus/$format.dict" -artifact_prefix="$builds/fuzz-$format-" -print_final_stats=1 \
    "$builds/corpus-$format" "tests/corpus/$format" >"$log" 2>&1 ||
    fail "$format: $(grep -m 1 -E 'ERROR|SUMMARY|runtime error' "$log" || tail -n 1 "$log"); see $log"
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  [ "${executed:-0}" -ge "$runs" ] || fail "$format: ${executed:-0} of $runs inputs; see $log"
  echo "$format: $executed inputs, $(sed -n 's/^stat::peak_rss_mb: *//p' "$log") MiB"
}

mkdir -p "$builds"
rm -rf "$builds/fuzz"
configure "$builds/fuzz" --native-file cross/clang.ini -Dfuzzers=true -Db_lundef=false -Dwerror=true \
  -Dtests=enabled -Dtools=disabled -Dbenchmarks=disabled
meson compile -C "$builds/fuzz" fuzz_npy fuzz_safetensors

fuzz npy &
npy=$!
fuzz safetensors &
safetensors=$!
status=0
wait "$npy" || status=1
wait "$safetensors" || status=1
exit $status
