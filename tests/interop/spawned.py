#!/usr/bin/python3
"""Debian's SPF policy services as admins run them: spawned from master.cf, asked over unix:private/.  And amavisd-new
between its two listeners, where it is installed."""
import os
import pwd
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port, listening, wait_until  # noqa: E402

PYTHON, PERL = "/usr/bin/policyd-spf", "/usr/sbin/postfix-policyd-spf-perl"
MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nbody\r\n"


def user():
    for name in ("policyd-spf", "nobody"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    return None


@unittest.skipUnless(os.geteuid() == 0, "needs root: the services run as their own user")
class Spf(case.Case):
    """The addresses are this machine's own: what SPF says of them needs no DNS."""
    MAIN = """policy-spf_time_limit = 3600s
smtpd_recipient_restrictions = permit_auth_destination, reject
smtpd_relay_restrictions = reject_unauth_destination, check_policy_service unix:private/SERVICE
mynetworks =
"""
    MASTER = """policy-spf unix - n n - 0 spawn user=USER argv=COMMAND
"""
    COMMAND = None

    @classmethod
    def setUpClass(cls):
        if cls.COMMAND is None or not os.path.exists(cls.COMMAND):
            raise unittest.SkipTest("%s is not installed" % cls.COMMAND)
        super().setUpClass()

    @classmethod
    def prepare(cls):
        cls.MAIN = cls.MAIN.replace("SERVICE", "policy-spf")
        cls.MASTER = cls.MASTER.replace("USER", user()).replace("COMMAND", cls.COMMAND)

    def test_answers(self):
        for _ in range(3):   # over one connection, as long as it lives
            reply = self.submit(MAIL, sender="<a@sender.invalid>")
            self.assertIn("250 2.0.0 Ok: queued as", reply)
        got = self.next.wait(3)
        self.assertTrue(any(h.startswith((b"Received-SPF:", b"X-Comment:", b"Authentication-Results:", b"X-SPF")) or b"SPF" in h
                            for h in got[0].headers()), got[0].headers())
        self.assertNotIn("problem talking to server", self.instance.log_text())


class SpfPython(Spf):
    COMMAND = PYTHON


class SpfPerl(Spf):
    COMMAND = PERL


@unittest.skipUnless(shutil.which("amavisd-new") or shutil.which("amavisd"), "amavisd-new is not installed")
class Amavis(case.Case):
    MAIN = "content_filter = amavisfeed:[127.0.0.1]:FEED\n"
    MASTER = """amavisfeed unix - - n - 2 lmtp -o lmtp_data_done_timeout=1200 -o lmtp_send_xforward_command=yes
127.0.0.1:BACK inet n - n - - smtpd
  -o content_filter=
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
  -o receive_override_options=no_header_body_checks,no_unknown_recipient_checks,no_milters
  -o smtpd_authorized_xforward_hosts=127.0.0.0/8
"""

    @classmethod
    def prepare(cls):
        feed, back = free_port(), free_port()
        account = pwd.getpwnam("amavis")
        home = os.path.join(cls.work, "amavis")
        for name in ("", "tmp", "var", "db"):
            os.makedirs(os.path.join(home, name), exist_ok=True)
            os.chown(os.path.join(home, name), account.pw_uid, account.pw_gid)
        conf = os.path.join(cls.work, "amavisd.conf")
        with open(conf, "w", encoding="utf-8") as out:
            out.write("""use strict;
$max_servers = 2; $daemon_user = 'amavis'; $daemon_group = 'amavis'; $MYHOME = '%(home)s'; $TEMPBASE = "$MYHOME/tmp";
$db_home = "$MYHOME/db"; $pid_file = "$MYHOME/var/pid"; $lock_file = "$MYHOME/var/lock"; $enable_db = 0; $do_syslog = 0;
$log_level = 2; $LOGFILE = "$MYHOME/var/log"; $mydomain = 'dest.example'; $myhostname = 'mx.dest.example';
@local_domains_maps = (['.dest.example']); $inet_socket_port = %(feed)d; $inet_socket_bind = '127.0.0.1';
$forward_method = 'smtp:[127.0.0.1]:%(back)d'; $notify_method = $forward_method; $unix_socketname = undef;
@bypass_virus_checks_maps = (1); @bypass_spam_checks_maps = (1); $QUARANTINEDIR = undef;
1;
""" % {"home": home, "feed": feed, "back": back})
        cls.log = open(os.path.join(cls.work, "amavis.out"), "wb")
        cls.addClassCleanup(cls.log.close)
        cls.amavis = subprocess.Popen([shutil.which("amavisd-new") or "amavisd", "-c", conf, "foreground"],
                                      stdout=cls.log, stderr=cls.log, start_new_session=True)
        cls.addClassCleanup(lambda: (os.killpg(cls.amavis.pid, 15), cls.amavis.wait(20)))
        wait_until(lambda: listening(feed), 60, "amavisd's listener")
        cls.MAIN = cls.MAIN.replace("FEED", str(feed))
        cls.MASTER = cls.MASTER.replace("BACK", str(back))

    def test_once_through_both_listeners(self):
        first = self.queue_id(self.client(source="127.0.0.9").message(MAIL, helo="client.example"))
        got = self.next.wait(1, 30)[0]
        text = got.header_bytes()
        self.assertEqual(text.count(b"(amavis, port"), 1, text)
        self.assertEqual(text.count(b"with ESMTP id " + first.encode()), 1, text)
        # Who it came from went through amavisd by XFORWARD, twice.
        self.wait_log(r"orig_queue_id=%s, orig_client=\S+\[127\.0\.0\.9\]" % first)
        self.assertEqual(self.instance.log_text().count("orig_queue_id=" + first), 1)
        self.wait_log(first + ": removed")


if __name__ == "__main__":
    del Spf   # the base is no test of its own
    case.main()
