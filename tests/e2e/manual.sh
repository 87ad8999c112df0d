#!/bin/sh
# manual.sh MILLRACE SOURCE-DIRECTORY: main.cf(5) is up to date, and all pages are well formed.
set -eu
"$1" conf --man | diff -u "$2/contrib/man/main.cf.5" - || {
  echo "run: millrace conf --man > contrib/man/main.cf.5" >&2
  exit 1
}
! mandoc -Tlint -Wwarning "$2"/contrib/man/*.[158] | grep -E 'ERROR|WARNING|UNSUPP'
# Every command has its page, under each of its names.
"$1" --help | sed -n 's/^  \([a-z][a-z-]*\) .*/\1/p' | while read -r command; do
  grep -qE "^\.Nm \"?millrace $command\"?( ,)?$|^\.It Cm $command( |$)|^\.Nm (millrace-)?$command( ,)?$" "$2"/contrib/man/*.[18] || {
    echo "no manual page has the command $command" >&2
    exit 1
  }
done
for name in postfix postconf postmap postalias newaliases postqueue mailq postsuper postcat sendmail; do
  grep -qE "^\.Nm $name( ,)?$" "$2"/contrib/man/*.[18] || { echo "no manual page has the name $name" >&2; exit 1; }
done
