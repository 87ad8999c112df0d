#!/usr/bin/python3
"""Mail of local users: sendmail and its links, postdrop (setgid, as another user, in hostile hands), pickup, and the
programs that use them: bsd-mailx, cron, PHP's way of calling it."""
import os
import pwd
import re
import shutil
import socket
import stat
import struct
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

LINKS = ("sendmail", "mailq", "newaliases", "postqueue", "postalias", "postfix")
CHECKS = "/^Subject: bad/ REJECT no bad\n/^Subject: hold/ HOLD held\n/^Subject: drop/ DISCARD\n"
NOBODY = pwd.getpwnam("nobody")


def record(kind, text=b""):
    out, length = kind.encode(), len(text)
    while True:
        group, length = length & 127, length >> 7
        out += struct.pack("B", group | (128 if length else 0))
        if not length:
            return out + text


def may_mount():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False, capture_output=True).returncode == 0


class Submission(case.Case):
    MAIN = """header_checks = pcre:%(work)s/checks
message_size_limit = 200000
alias_database = hash:%(work)s/aliases
authorized_mailq_users = !nobody, static:all
authorized_flush_users = root
smtp_line_length_limit = 0
"""

    @classmethod
    def prepare(cls):
        cls.bin = os.path.join(cls.work, "bin")
        os.makedirs(cls.bin)
        for name in ("millrace", "postdrop"):
            shutil.copy(os.path.join(os.path.dirname(case.BINARY), name), cls.bin)
        for name in LINKS:
            os.symlink("millrace", os.path.join(cls.bin, name))
        if os.geteuid() == 0:
            group = shutil._get_gid("postdrop")  # pylint: disable=protected-access
            os.chown(os.path.join(cls.bin, "postdrop"), 0, -1 if group is None else group)
            os.chmod(os.path.join(cls.bin, "postdrop"), 0o2755)
        for name, text in (("checks", CHECKS), ("aliases", "root: a@b,  c\nx: :include:/y\n")):
            with open(os.path.join(cls.work, name), "w", encoding="ascii") as out:
                out.write(text)

    def tool(self, name, *args, data="", status=0, **more):
        more.setdefault("env", dict(os.environ, MAIL_CONFIG=self.instance.conf))
        data = data.encode() if isinstance(data, str) else data
        return self.run_tool(os.path.join(self.bin, name), *args, input=data, status=status, **more)

    def maildrop(self):
        return os.listdir(os.path.join(self.instance.queue, "maildrop"))

    def one(self):
        """The message that arrives; sender and recipients without brackets and parameters."""
        message = self.next.wait(1)[0]
        message.sender = re.search("<(.*?)>", message.sender).group(1)
        message.recipients = sorted(re.search("<(.*?)>", one).group(1) for one in message.recipients)
        return message

    # -- what sendmail makes of its input

    def test_a_plain_message(self):
        self.tool("sendmail", "-F", "Joe \"X\" Doe", "b@dest.example", data="Subject: a\n\nbody\n.\nnot this\n")
        message = self.one()
        self.assertEqual(message.body(), b"body\r\n")
        self.assertEqual(message.recipients, ["b@dest.example"])
        self.assertEqual(message.sender, "root@mx.mill.example" if os.geteuid() == 0 else message.sender)
        header = message.header_bytes()
        self.assertIn(b"(Millrace, from userid %d)\r\n\tid " % os.geteuid(), header)
        self.assertIn(b'From: "Joe \\"X\\" Doe" <', header)
        for name in (b"Message-Id: <", b"Date: ", b"To: undisclosed-recipients:;"):
            if not name.startswith(b"To"):
                self.assertIn(name, header)
        self.wait_log(r"postfix/pickup\[\d+\]: \w+: uid=%d from=<\w+>$" % os.geteuid())

    def test_recipients_from_the_header(self):
        self.tool("sendmail", "-t", "-i", "-f", "me@here.example", "extra@dest.example",
                  data='To: "Q, R" <q@dest.example>,\n w@dest.example (c), grp: a@dest.example;\nBcc: hidden@dest.example\n'
                       "Subject: n\n\nline\n.\nTo: nobody@dest.example\n")
        message = self.one()
        self.assertEqual(sorted(message.recipients), ["%s@dest.example" % name for name in ("a", "extra", "hidden", "q", "w")])
        self.assertEqual(message.sender, "me@here.example")
        self.assertNotIn(b"hidden", message.content)
        self.assertEqual(message.body(), b"line\r\n.\r\nTo: nobody@dest.example\r\n")

    def test_resent_recipients_go_first(self):
        self.tool("sendmail", "-t", data="To: a@dest.example\nResent-To: r@dest.example\n\nx\n")
        self.assertEqual(self.one().recipients, ["r@dest.example"])

    def test_line_ends_mailbox_lines_and_long_lines(self):
        self.tool("sendmail", "-i", "b@dest.example",
                  data=b"From me Sat\n>From you\nSubject: x\r\n\r\none\r\nFrom two\n" + b"y" * 9000 + b"\n\xe4\0\n.\nlast")
        message = self.one()
        self.assertEqual(message.body(), b"one\r\nFrom two\r\n" + b"y" * 9000 + b"\r\n\xe4\0\r\n.\r\nlast\r\n")
        self.assertNotIn(b"From me", message.content)

    def test_dsn_options_and_the_null_sender(self):
        self.tool("sendmail", "-f", "<>", "-N", "success,delay", "-R", "hdrs", "-V", "id 1", "b@dest.example", data="x: y\n\nz\n")
        self.assertEqual(self.one().sender, "")
        self.wait_log(r"from=<>, size=")

    def test_without_recipients(self):
        for args, text in ((("-t",), "No recipient addresses found in message header"),
                           ((), "Recipient addresses must be specified on the command line or via the -t option")):
            done = self.tool("sendmail", *args, data="Subject: x\n\ny\n", status=75)
            self.assertIn(text.encode(), done.stderr)
        self.assertEqual(self.maildrop(), [])

    def test_too_big(self):
        done = self.tool("sendmail", "b@dest.example", data="x" * 300000, status=75)
        self.assertIn(b"message file too big", done.stderr)
        self.assertEqual(self.maildrop(), [])

    def test_smtp_on_standard_input(self):
        done = self.tool("sendmail", "-bs", data="EHLO x\r\nMAIL FROM:<s@here.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n"
                         "Subject: s\r\n\r\n..dot\r\n" + "z" * 5000 + "\r\n.\r\nQUIT\r\n")
        self.assertIn(b"250 2.0.0 Ok: queued as", done.stdout)
        self.assertTrue(done.stdout.rstrip().endswith(b"221 2.0.0 Bye"), done.stdout)
        message = self.one()
        self.assertEqual(message.body(), b".dot\r\n" + b"z" * 5000 + b"\r\n")
        self.assertEqual(message.sender, "s@here.example")

    def test_other_modes(self):
        self.assertIn(b"Mail queue is empty", self.tool("sendmail", "-bp").stdout)
        self.assertIn(b"Mail queue is empty", self.tool("mailq").stdout)
        self.tool("newaliases")
        listed = self.tool("postalias", "-s", "hash:%s/aliases" % self.work).stdout
        self.assertIn(b"root:\ta@b, c\n", listed)
        self.assertEqual(self.tool("postalias", "-q", "X", "hash:%s/aliases" % self.work).stdout, b":include:/y\n")
        self.assertIn(b"millrace start", self.tool("sendmail", "-bd", status=75).stderr)
        self.tool("sendmail", "-q")
        self.tool("sendmail", "-q15m")

    # -- cleanup's work

    def test_header_checks(self):
        self.tool("sendmail", "-f", "me@dest.example", "b@dest.example", data="Subject: bad\n\nx\n")
        message = self.one()
        self.assertEqual((message.sender, message.recipients), ("", ["me@dest.example"]))
        self.assertIn(b"no bad", message.content)
        self.wait_log(r"cleanup\[\d+\]: \w+: reject: header Subject: bad from local; from=<me@dest.example> "
                      r"to=<b@dest.example>: 5.7.1 no bad$")
        self.tool("sendmail", "b@dest.example", data="Subject: hold\n\nx\n")
        held = self.wait_log(r"cleanup\[\d+\]: (\w+): hold: header Subject: hold from local; from=<\w+@mx.mill.example>").group(1)
        wait_until(lambda: (held + "!").encode() in self.tool("mailq").stdout, 10, "on hold")
        self.instance.command("super", "-d", held)
        self.tool("sendmail", "b@dest.example", data="Subject: drop\n\nx\n")
        wait_until(lambda: not self.maildrop(), 10, "discarded")

    def test_while_the_daemon_is_down(self):
        self.instance.stop()
        try:
            for number in range(3):
                self.tool("sendmail", "b@dest.example", data="Subject: down %d\n\nx\n" % number)
            self.assertEqual(len(self.maildrop()), 3)
        finally:
            self.instance.start()
        messages = self.next.wait(3)
        self.assertEqual(len({message.content.split(b"Subject: ")[1][:6] for message in messages}), 3)
        wait_until(lambda: not self.maildrop(), 10, "an empty maildrop")

    # -- hostile hands

    def drop_file(self, name, data, mode=0o744, owner=NOBODY):
        path = os.path.join(self.instance.queue, "maildrop", name)
        with open(path, "wb") as out:
            out.write(data)
        os.chown(path, owner.pw_uid, owner.pw_gid)
        os.chmod(path, mode)

    def test_hostile_files(self):
        if os.geteuid() != 0:
            self.skipTest("needs root")
        good = record("S", b"joe") + record("R", b"b@dest.example") + record("M") + record("N", b"Subject: ok\r\nBcc: x@y") \
            + record("N") + record("N", b"x\n.\r\nRCPT") + record("X") + record("E")
        drop = os.path.join(self.instance.queue, "maildrop")
        os.symlink("/etc/shadow", os.path.join(drop, "link"))
        os.mkfifo(os.path.join(drop, "fifo"), 0o777)
        with socket.socket(socket.AF_UNIX) as sock:
            sock.bind(os.path.join(drop, "socket"))
        self.drop_file("empty", b"")
        self.drop_file("noise", os.urandom(5000))
        self.drop_file("cut", good[:-3])
        self.drop_file("deep", record("S", b"a") + b"R\xff\xff\xff\xff\x7f")
        self.drop_file("newline", record("S", b"a\nb") + record("R", b"x") + record("M") + record("X") + record("E"))
        self.drop_file("unfinished", good, 0o600)
        self.drop_file("-rf *", good)
        self.tool("sendmail", "b@dest.example", data="Subject: wake\n\nx\n")
        self.next.wait(2)
        wait_until(lambda: self.maildrop() == ["unfinished"], 10, "only the unfinished file left: %s" % self.maildrop())
        os.unlink(os.path.join(drop, "unfinished"))
        mine = next(m for m in self.next.messages if b"Subject: ok" in m.content)
        self.assertEqual(mine.body(), b"x .  RCPT\r\n")
        self.assertIn(b"from userid %d" % NOBODY.pw_uid, mine.content)
        self.wait_log(r"pickup\[\d+\]: warning: maildrop/link: symbolic link: removed")
        self.wait_log(r"pickup\[\d+\]: warning: maildrop/noise: uid=%d: malformed" % NOBODY.pw_uid)

    def as_nobody(self, script, check=True):
        """Runs a shell script as nobody where /etc/postfix is the instance's configuration."""
        if not may_mount():
            self.skipTest("needs root and mount namespaces")
        inner = "setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c \"$SCRIPT\""
        outer = "mount --bind %s /etc/postfix && cd / && exec %s" % (self.instance.conf, inner)
        done = subprocess.run(["unshare", "-m", "sh", "-c", outer], capture_output=True, text=True, timeout=60, check=False,
                              env={"SCRIPT": script, "PATH": self.bin + ":/usr/bin:/bin", "BIN": self.bin, "DROP": os.path.join(
                                  self.instance.queue, "maildrop"), "WORK": self.work})
        if check:
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done

    def test_as_another_user(self):
        self.as_nobody("printf 'Subject: mine\\n\\nx\\n' | sendmail b@dest.example")
        message = self.one()
        self.assertEqual(message.sender, "nobody@mx.mill.example")
        self.assertIn(b"from userid %d" % NOBODY.pw_uid, message.content)
        done = self.as_nobody("ls $DROP", check=False)
        self.assertNotEqual(done.returncode, 0)

    def test_the_setgid_program_in_hostile_hands(self):
        main = os.path.join(self.work, "evil")
        os.makedirs(main, exist_ok=True)
        with open(os.path.join(main, "main.cf"), "w", encoding="ascii") as out:
            out.write("queue_directory = %s\n" % main)
        for script, text in ((("MAIL_CONFIG=$WORK/evil sendmail b@dest.example </dev/null"), "is not authorized by"),
                             (("sendmail -C $WORK/evil b@dest.example </dev/null"), "is not authorized by")):
            done = self.as_nobody(script, check=False)
            self.assertEqual(done.returncode, 75)
            self.assertIn(text, done.stderr)
        for script in ("$BIN/postdrop -r </dev/null", "printf 'junk and more' | $BIN/postdrop -r",
                       "$BIN/postdrop -r <&- >&- 2>&-", "$BIN/postdrop -c", "$BIN/postdrop x", "$BIN/postdrop -c /nowhere",
                       "ulimit -f 0; head -c 100000 /dev/zero | sendmail b@dest.example",
                       "printf 'S\\001aR\\001bM' | $BIN/postdrop -r"):
            self.assertNotEqual(self.as_nobody(script, check=False).returncode, 0, script)
        # Cut off in the middle of its work.
        self.as_nobody("(printf 'S\\001a'; sleep 5) | $BIN/postdrop -r & sleep 1; kill -TERM $(pgrep -n -x postdrop); sleep 1", check=False)
        self.assertEqual(self.maildrop(), [])
        linked = self.run_tool("ldd", os.path.join(self.bin, "postdrop"))
        for line in linked.stdout.decode().splitlines():
            self.assertRegex(line, r"linux-vdso|ld-linux|lib(stdc\+\+|gcc_s|c|m)\.so")

    def test_who_may_list_and_flush(self):
        done = self.as_nobody("mailq", check=False)
        self.assertEqual(done.returncode, 77)
        self.assertIn("User nobody(%d) is not allowed to view the mail queue" % NOBODY.pw_uid, done.stderr)
        done = self.as_nobody("postqueue -f", check=False)
        self.assertIn("User nobody(%d) is not allowed to flush the mail queue" % NOBODY.pw_uid, done.stderr)
        self.tool("postqueue", "-f")

    # -- the programs that send mail

    def test_mailx(self):
        if not shutil.which("bsd-mailx"):
            self.skipTest("bsd-mailx is not installed")
        rc = os.path.join(self.work, "mailrc")
        with open(rc, "w", encoding="ascii") as out:
            out.write("set sendmail=%s/sendmail\n" % self.bin)
        self.run_tool("bsd-mailx", "-s", "from mailx", "-c", "c@dest.example", "b@dest.example", input=b"hello\n.\nmore\n",
                      env=dict(os.environ, MAIL_CONFIG=self.instance.conf, MAILRC=rc))
        message = self.one()
        self.assertEqual(sorted(message.recipients), ["b@dest.example", "c@dest.example"])
        self.assertIn(b"Subject: from mailx\r\n", message.content)
        self.assertIn(b"hello\r\n", message.body())

    def test_the_way_php_does_it(self):
        self.run_tool("sh", "-c", "$SENDMAIL -t -i", env=dict(os.environ, SENDMAIL=os.path.join(self.bin, "sendmail"),
                                                              MAIL_CONFIG=self.instance.conf),
                      input=b"To: b@dest.example\r\nSubject: php\r\nX-PHP-Originating-Script: 33:x.php\r\nFrom: web@here.example"
                            b"\r\n\r\nline one\r\n.\r\nline three\r\n")
        message = self.one()
        self.assertEqual(message.body(), b"line one\r\n.\r\nline three\r\n")
        self.assertIn(b"From: web@here.example\r\n", message.content)

    def test_cron(self):
        if not may_mount() or not os.path.exists("/usr/sbin/cron"):
            self.skipTest("needs root, mount namespaces and cron")
        wrapper = os.path.join(self.work, "wrapper")
        with open(wrapper, "w", encoding="ascii") as out:
            out.write("#!/bin/sh\nexec %s/sendmail \"$@\"\n" % self.bin)
        os.chmod(wrapper, 0o755)
        script = """mount --bind %s /etc/postfix && mount --bind %s /usr/sbin/sendmail && mount -t tmpfs none /run &&
mount -t tmpfs none /etc/cron.d && mount --bind /dev/null /etc/crontab && mount -t tmpfs -o mode=1730 none /var/spool/cron/crontabs &&
printf 'MAILTO=b@dest.example\\n@reboot echo from cron\\n' > /var/spool/cron/crontabs/nobody && chmod 600 /var/spool/cron/crontabs/nobody &&
chown nobody:crontab /var/spool/cron/crontabs/nobody && exec cron -f""" % (self.instance.conf, wrapper)
        process = subprocess.Popen(["unshare", "-m", "sh", "-c", script], stdin=subprocess.DEVNULL)  # pylint: disable=consider-using-with
        try:
            message = self.one()
        finally:
            process.terminate()
            process.wait()
        self.assertIn(b"from cron\r\n", message.body())
        self.assertIn(b"(Cron Daemon)", message.content)
        self.assertEqual(message.recipients, ["b@dest.example"])

    def test_the_directory(self):
        status = os.stat(os.path.join(self.instance.queue, "maildrop"))
        self.assertEqual(stat.S_IMODE(status.st_mode), 0o1730)

    def test_many_at_once(self):
        started = [subprocess.Popen([os.path.join(self.bin, "sendmail"), "b@dest.example"], stdin=subprocess.PIPE,
                                    env=dict(os.environ, MAIL_CONFIG=self.instance.conf)) for _ in range(20)]
        for number, process in enumerate(started):
            process.communicate(b"Subject: %d\n\nx\n" % number, 30)
            self.assertEqual(process.returncode, 0)
        self.next.wait(20)
        time.sleep(0.1)
        self.assertEqual(len(self.next.messages), 20)


if __name__ == "__main__":
    case.main()
