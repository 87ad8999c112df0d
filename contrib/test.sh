#!/bin/bash
# The second of the two commands: installs packages, builds, runs every test.  CI calls it.
#   release: all tests (unit, fuzz corpora, end to end with real filters);  asan: unit tests and corpora
#   under address and undefined-behaviour sanitizers;  tsan: what shares state across threads;
#   fuzz: each target replays its corpus and runs 5 s.
set -euo pipefail
cd "$(dirname "$0")/.."
contrib/packages.sh
export CCACHE_SLOPPINESS=pch_defines,time_macros
step() { printf '\n== %s (%s)\n' "$*" "$(date +%H:%M:%S)"; }

step release
cmake --preset release > /dev/null
cmake --build --preset release | tail -n 3
step asan
cmake --preset asan > /dev/null
cmake --build --preset asan --target unit_tests | tail -n 3
step tsan
cmake --preset tsan > /dev/null
cmake --build --preset tsan --target thread_tests | tail -n 3
step fuzz
cmake --preset fuzz > /dev/null
cmake --build --preset fuzz --target fuzz_targets | tail -n 3

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
