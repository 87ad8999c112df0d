#!/usr/bin/python3
"""Our plugins behind `millrace milter`, asked by Debian's Postfix: the same answers, and the same message delivered, as
with the same plugins inside of Millrace.  And a reload, an end in the middle, and a door that is not there.

    milter_door.py --millrace BIN [unittest options]
"""
import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import postfix  # noqa: E402
from dns_zone import DnsZone  # noqa: E402
from instance import free_port, wait_until  # noqa: E402
from next_hop import header_list, split_content  # noqa: E402

CHECKS = """/^Subject: reject/ REJECT no %such thing
/^Subject: hold/ HOLD looks odd
/^Subject: drop/ DISCARD
/^Subject: replace(.*)/ REPLACE Subject: replaced$1
/^Subject: prepend/ PREPEND X-Prepended: yes
/^Subject: strip/ IGNORE
/^Subject: elsewhere/ REDIRECT other@dest.example
/^Subject: copy/ BCC copy@dest.example
/^X-Internal:/ IGNORE
"""
BODY = "/^forbidden/ REJECT in the body\n/^change me/ REPLACE changed\n"
FILTERS = ("{ plugin:header_checks header_checks=pcre:%(work)s/checks body_checks=pcre:%(work)s/body }",
           "{ plugin:sample reject_recipient=spamtrap@ header=X-Sample }")


class Door(case.Case):
    number = 0
    MAIN = """plugin_directory = %(work)s/plugins
smtpd_filters = """ + ", ".join(FILTERS) + """
smtpd_peername_lookup = no
smtp_line_length_limit = 0
"""

    @classmethod
    def prepare(cls):
        if not postfix.available():
            raise unittest.SkipTest("needs root and Debian's postfix")
        os.mkdir(cls.work + "/plugins")
        for name in ("header_checks", "sample", "spf"):
            path = shutil.copy(os.path.join(os.path.dirname(case.BINARY), "plugins", name + ".so"), cls.work + "/plugins")
            os.chmod(path, 0o644)
        for name, text in (("checks", CHECKS), ("body", BODY)):
            with open(os.path.join(cls.work, name), "w", encoding="ascii") as out:
                out.write(text)
        cls.dns = DnsZone({"sender.example": [{"SPF": "v=spf1 ip4:192.0.2.0/24 -all"}]})
        cls.addClassCleanup(cls.dns.close)
        with open(cls.work + "/resolv.conf", "w", encoding="ascii") as out:
            out.write("nameserver 127.0.0.1@%d\n" % cls.dns.port)
        cls.port = free_port()
        cls.log = open(cls.work + "/door.log", "w+b")
        cls.addClassCleanup(cls.log.close)
        cls.open_door([one % {"work": cls.work} for one in FILTERS])
        cls.addClassCleanup(cls.close_door)
        main = cls.RELAY % {"next": cls.next.port} + "smtpd_milters = inet:127.0.0.1:%d\nmilter_default_action = tempfail\nsmtpd_authorized_xclient_hosts = 127.0.0.1\n" % cls.port
        cls.postfix = postfix.Postfix(cls.work, main.strip())
        cls.addClassCleanup(cls.postfix.stop)
        cls.postfix.start()

    @classmethod
    def open_door(cls, filters, more=()):
        cls.door = subprocess.Popen([case.BINARY, "-c", cls.work, "milter", "--socket", "inet:127.0.0.1:%d" % cls.port, "--plugins",
                                     cls.work + "/plugins", "--resolv-conf", cls.work + "/resolv.conf", *more, *filters],
                                    stderr=cls.log, stdin=subprocess.DEVNULL)
        count = cls.door_log().count("serving on")
        wait_until(lambda: cls.door.poll() is not None or cls.door_log().count("serving on") > count, 20, "the door")
        assert cls.door.poll() is None, cls.door_log()

    @classmethod
    def close_door(cls):
        if cls.door.poll() is None:
            cls.door.terminate()
        return cls.door.wait(20)

    @classmethod
    def door_log(cls):
        with open(cls.work + "/door.log", encoding="utf-8", errors="replace") as log:
            return log.read()

    def through(self, port, content, recipients=("<b@dest.example>",), client_address=None):
        """The reply, and what the next hop got: sender, recipients, content without what each server writes of itself."""
        Door.number += 1
        mark = b"X-Number: %d" % Door.number
        client = case.Client(port)
        if client_address:
            client.say("XCLIENT NAME=client.example ADDR=" + client_address)
        reply = client.message(mark + b"\r\n" + content, recipients=recipients)
        client.close()
        reply = re.sub(r"queued as \w+", "queued as ID", reply)
        if not reply.startswith("250"):
            return reply, None
        try:
            wait_until(lambda: any(mark in one.headers() for one in self.next.messages), 2, "the message")
        except AssertionError:
            return reply, None
        message = next(one for one in self.next.messages if mark in one.headers())
        fields = [re.sub(rb"(Message-Id: <).*", rb"\1>", one) for one in header_list(message.content)
                  if not one.lower().startswith((b"received: from client.example", b"date:")) and one != mark]
        return reply, (re.sub(r" SIZE=\d+", "", message.sender), sorted(message.recipients), fields, split_content(message.content)[1])

    def both(self, content):
        ours = self.through(self.instance.port, content)
        return self.through(self.postfix.port, content), ours

    def message(self, subject, body=b"hello\r\n", more=b""):
        return b"From: a@sender.example\r\nSubject: " + subject + b"\r\nMessage-Id: <1@x>\r\n" + more + b"\r\n" + body

    def test_the_same_as_inside(self):
        cases = {
            "plain": self.message(b"plain"), "reject": self.message(b"reject me"), "drop": self.message(b"drop it"),
            "replace": self.message(b"replace this", more=b"Subject: replace that\r\nX-Internal: a\r\nX-Other: b\r\nX-Internal: c\r\n"),
            "prepend": self.message(b"prepend", more=b"Received: from there\r\n\tby here\r\n"), "strip": self.message(b"strip"),
            "elsewhere": self.message(b"elsewhere"), "copy": self.message(b"copy"),
            "body": self.message(b"body", b"one\r\nforbidden word\r\n"), "changed": self.message(b"body", b"a\r\nchange me\r\n.\r\nz\r\n"),
            "empty": self.message(b"empty", b""), "folded": self.message(b"folded\r\n\tline\r\n  more"),
            "large": self.message(b"large", b"0123456789 abcdef\r\n" * 40000 + b"change me\r\n" + b"x\r\n" * 1000),
            "untouched": self.message(b"large", b"0123456789 abcdef\r\n" * 40000),
        }
        for name, content in cases.items():
            with self.subTest(name):
                theirs, ours = self.both(content)
                self.assertEqual(theirs[0], ours[0])
                self.assertEqual(theirs[1], ours[1])
        with self.subTest("something happened"):
            self.assertIn(b"Subject: replaced this", self.both(cases["replace"])[0][1][2])
            self.assertIn(b"X-Prepended: yes", self.both(cases["prepend"])[0][1][2])

    def test_recipients_are_refused(self):
        for port in (self.instance.port, self.postfix.port):
            client = case.Client(port)
            client.say("EHLO client.example")
            client.say("MAIL FROM:<a@sender.example>")
            replies = [client.say("RCPT TO:<%s@dest.example>" % name) for name in ("b", "spamtrap", "c")]
            client.say("RSET")
            client.close()
            if port == self.instance.port:
                ours = replies
        self.assertEqual([r[:9] for r in replies], [r[:9] for r in ours])
        self.assertTrue(replies[1].startswith("550 5.7.1"), replies)

    def test_held(self):
        client = case.Client(self.postfix.port)
        reply = client.message(self.message(b"hold this"))
        client.close()
        queue_id = reply.split()[-1]
        wait_until(lambda: os.path.exists(os.path.join(self.postfix.queue, "hold", queue_id)), 5, "the message on hold")
        self.assertIn("milter-hold: END-OF-MESSAGE", self.postfix.log_text())

    def test_reload_and_end(self):
        with open(self.work + "/checks", "a", encoding="ascii") as out:
            out.write("/^Subject: fresh/ REJECT new rule\n")
        self.addCleanup(lambda: open(self.work + "/checks", "w", encoding="ascii").write(CHECKS))
        client = case.Client(self.postfix.port)   # a session that began before
        client.say("EHLO client.example")
        count = self.door_log().count("reloaded")
        self.door.send_signal(signal.SIGHUP)
        wait_until(lambda: self.door_log().count("reloaded") > count, 5, "the reload")
        self.assertTrue(self.through(self.postfix.port, self.message(b"fresh"))[0].startswith("550 5.7.1 new rule"))
        self.assertTrue(client.message(self.message(b"plain"), helo=None).startswith("250"))
        client.close()
        # It ends when told to; without it Postfix does what milter_default_action says; and it comes back.
        self.assertEqual(self.close_door(), 0)
        self.assertTrue(self.through(self.postfix.port, self.message(b"plain"))[0].startswith("451"))
        self.open_door([one % {"work": self.work} for one in FILTERS])
        self.assertTrue(self.through(self.postfix.port, self.message(b"plain"))[0].startswith("250"))

    def test_spf(self):
        self.close_door()
        self.open_door(["plugin:spf"])
        self.addCleanup(lambda: (self.close_door(), self.open_door([one % {"work": self.work} for one in FILTERS])))
        reply, message = self.through(self.postfix.port, self.message(b"plain"), client_address="192.0.2.7")
        self.assertTrue(reply.startswith("250"), reply)
        self.assertTrue(message[2][0].startswith(b"Received-SPF: Pass "), message[2])
        reply, _ = self.through(self.postfix.port, self.message(b"plain"), client_address="198.51.100.1")
        self.assertTrue(reply.startswith("550 5.7.23 "), reply)

    def test_what_is_wrong_is_said(self):
        for words, why in ((["plugin:nothing"], "nothing"), (["--socket", "inet:127.0.0.1:%d" % free_port(), "plugin:nothing"], "nothing"),
                           (["--socket", "tcp:1", "plugin:sample"], "expected unix:PATH"),
                           (["--spool", "/nowhere", "--socket", "inet:127.0.0.1:%d" % free_port(), "plugin:sample"], "--spool /nowhere"),
                           (["--config", "/etc/hosts", "plugin:sample"], "usage"), ([], "usage")):
            done = subprocess.run([case.BINARY, "milter", "--plugins", self.work + "/plugins", *words], capture_output=True, text=True,
                                  stdin=subprocess.DEVNULL, timeout=20, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(why if words != ["plugin:nothing"] else "no --socket", done.stderr)


if __name__ == "__main__":
    case.main()
