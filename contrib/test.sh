#!/bin/bash
# The second of the two commands: installs packages, builds, runs every test.  CI calls it.
#   release: all tests (unit, fuzz corpora, end to end with real filters);  asan: unit tests and corpora
#   under address and undefined-behaviour sanitizers;  tsan: what shares state across threads;
#   fuzz: each target replays its corpus and runs 5 s.
set -euo pipefail
cd "$(dirname "$0")/.."
contrib/packages.sh
export CCACHE_SLOPPINESS=pch_defines,time_macros
# Configures and builds a preset (target by choice), quietly; on failure the errors are shown.
build() {
  step "build $1"
  cmake --preset "$1" > /dev/null
  if ! cmake --build --preset "$1" ${2:+--target "$2"} > "build/$1.log" 2>&1; then
    grep -E -A 6 'error|FAILED|undefined' "build/$1.log" | head -n 60
    exit 1
  fi
}
step() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

build release
build asan unit_tests
build tsan thread_tests
build fuzz fuzz_targets

failed=0
step "tests under asan and ubsan"
ASAN_OPTIONS=detect_stack_use_after_return=0 ctest --test-dir build/asan -L 'unit|fuzz' --output-on-failure -j2 || failed=1
step "tests under tsan"
ctest --test-dir build/tsan -L threads --output-on-failure || failed=1
step "fuzz targets"
ctest --test-dir build/fuzz -L fuzz --output-on-failure -j2 || failed=1
if [ -x ../shared/conform/conform.py ]; then
  step "differential suite"
  deviations=tests/conform-deviations.txt
  ../shared/conform/conform.py --millrace build/release/millrace -j2 --passing tests/conform-passing.txt \
    $([ -s $deviations ] && echo --deviations $deviations) || failed=1
fi
step "all tests of the release build"
ctest --test-dir build/release --output-on-failure -j2 || failed=1
exit $failed
