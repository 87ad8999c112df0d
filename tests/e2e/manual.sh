#!/bin/sh
# manual.sh MILLRACE SOURCE-DIRECTORY: main.cf(5) is up to date, and all pages are well formed.
set -eu
"$1" conf --man | diff -u "$2/contrib/man/main.cf.5" - || {
  echo "run: millrace conf --man > contrib/man/main.cf.5" >&2
  exit 1
}
! mandoc -Tlint -Wwarning "$2"/contrib/man/*.[158] | grep -E 'ERROR|WARNING|UNSUPP'
