#!/bin/sh
# Installs what Millrace needs on Debian 12: to build, and for the demo and the tests (real milters and
# policy services, real SMTP clients).  Run as root; daemons of these packages are not started.
set -eu
packages="
  build-essential cmake ninja-build ccache mold pkg-config ca-certificates
  libboost1.81-dev libboost-context1.81-dev libssl-dev libunbound-dev liblmdb-dev libpcre2-dev
  liblua5.4-dev libexpected-dev libfmt-dev libcli11-dev nlohmann-json3-dev libidn2-dev catch2
  clang libclang-rt-14-dev libmilter-dev libopendkim-dev libspf2-dev abigail-tools systemd
  python3 openssl curl procps e2fsprogs xfsprogs util-linux mount iproute2
  opendkim opendkim-tools opendmarc dkimpy-milter python3-milter postgrey postfix swaks python3-dkim python3-nacl python3-cryptography libmail-dkim-perl mandoc
  pflogsumm mailgraph fail2ban
  postfix-policyd-spf-python postfix-policyd-spf-perl amavisd-new bsd-mailx cron
  spamass-milter spamd clamav-daemon clamav-milter rspamd mimedefang
"
# The unprivileged user for machines without Postfix's.
getent passwd millrace > /dev/null || useradd --system --user-group --no-create-home --home-dir /nonexistent \
  --shell /usr/sbin/nologin millrace
# Who may write into the maildrop directory.
getent group postdrop > /dev/null || groupadd --system postdrop
missing=""
for package in $packages; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
# No daemon of a package starts on its own: the tests start their own copies on loopback.
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
  printf '#!/bin/sh\nexit 101\n' > "$policy"
  chmod 755 "$policy"
  trap 'rm -f "$policy"' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update -q
# shellcheck disable=SC2086
apt-get install -q -y --no-install-recommends $missing
