#!/bin/sh
# The layout of the plugin ABI against the description committed for this draft: structs may grow at their end, anything
# else is a break.  Skipped (77) without abidiff (package abigail-tools).
#
#   check.sh HEADERS           compare
#   check.sh HEADERS --broken  the comparison must find a field that was put in the middle, and a code that changed
#   check.sh HEADERS --write   describe anew: with a new MR_ABI_DRAFT or major version, never else
set -eu
here=$(cd "$(dirname "$0")" && pwd)
headers=$1
command -v abidiff > /dev/null || { echo "skipped: no abidiff"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ "${2:-}" = --broken ]; then
  for change in 's/^  int32_t action;/  int32_t sooner; int32_t action; uint32_t pad;/' 's/MR_REJECT = 2/MR_REJECT = 12/' 's/^  double score;/  uint64_t score;/'; do
    mkdir -p "$work/millrace"
    sed "$change" "$headers/millrace/plugin.h" > "$work/millrace/plugin.h"
    cmp -s "$work/millrace/plugin.h" "$headers/millrace/plugin.h" && { echo "nothing was changed by $change"; exit 1; }
    "$0" "$work" > "$work/said" && { echo "not found: $change"; exit 1; }
    tail -n 3 "$work/said"
  done
  exit 0
fi
sed -n 's/^} \(mr_[a-z0-9_]*\);.*/USES(\1)/p' "$headers/millrace/plugin.h" > "$work/types.inc"
[ "$(grep -c USES "$work/types.inc")" -ge 20 ] || { echo "types not found in plugin.h"; exit 1; }
cc -std=c11 -g -O0 -shared -fPIC -fno-eliminate-unused-debug-types -I "$headers" -I "$work" -o "$work/libabi.so" "$here/abi.c"
if [ "${2:-}" = --write ]; then
  abidw --no-corpus-path --no-comp-dir-path --no-show-locs --out-file "$here/plugin-1.abi" "$work/libabi.so"
  sed -i "s|path='[^']*/|path='|" "$here/plugin-1.abi"   # where it was built is nobody's business
  exit 0
fi
# Values of the codes that verdicts, stages and errors are told with: enums without a name are in no description.
sed -n '/^enum {/,/^};/p; /^enum { /p' "$headers/millrace/plugin.h" | sed 's|/\*.*\*/||' | grep -o 'MR_[A-Z0-9_]* = [^,}]*' | sed 's/ *$//' | sort -u > "$work/codes"
if ! grep -qxF -f "$work/codes" "$here/codes.txt" || [ -n "$(grep -vxF -f "$work/codes" "$here/codes.txt" || true)" ]; then
  echo "codes that changed or went away:"
  grep -vxF -f "$work/codes" "$here/codes.txt" || true
  exit 1
fi
abidiff --no-added-syms --leaf-changes-only --no-show-locs "$here/plugin-1.abi" "$work/libabi.so" > "$work/report" && { echo "the ABI is that of plugin-1.abi"; exit 0; }
cat "$work/report"
# The rule of growth: fields are appended, and struct_size says how many there are.  An insertion elsewhere moves what is behind it.
if grep -v '^Removed/Changed/Added.*: 0 Removed, 0 Changed' "$work/report" |
   grep -E 'Removed/|offset changed|data member changes|deletion|enumerator|type of|changed from .* to ' | grep -v '^  type size changed from'; then
  echo "this breaks plugins that are out there"
  exit 1
fi
echo "the ABI is that of plugin-1.abi, and more"
