#!/bin/sh
# install.sh BUILD-DIRECTORY: `cmake --install` puts everything in its place, the links are commands, systemd likes
# the unit.
set -eu
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
cmake --install "$1" --prefix "$root" > "$root.log" 2>&1 || { cat "$root.log"; exit 1; }
rm -f "$root.log"
fail() { echo "install.sh: $*" >&2; exit 1; }
for link in postfix postconf postmap postalias newaliases postqueue mailq postsuper postcat sendmail; do
  [ "$(readlink "$root/sbin/$link")" = millrace ] || fail "$link is no link to millrace"
done
"$root/sbin/postconf" -d myorigin | grep -q '^myorigin = ' || fail "postconf does not answer"
"$root/sbin/postmap" -q a 'inline:{a=b}' | grep -qx b || fail "postmap does not answer"
[ -f "$root/share/man/man8/millrace.8" ] || fail "no manual page"
[ -x "$root/libexec/millrace/postdrop" ] || fail "no postdrop"
if [ "$(id -u)" = 0 ] && getent group postdrop > /dev/null; then
  [ "$(stat -c '%G %a' "$root/libexec/millrace/postdrop")" = "postdrop 2755" ] || fail "postdrop is not setgid"
fi
unit=$root/lib/systemd/system/millrace.service
if command -v systemd-analyze > /dev/null; then
  said=$(systemd-analyze verify --man=no "$unit" 2>&1 | grep -F "$unit" || true)
  [ -z "$said" ] || fail "$said"
fi
