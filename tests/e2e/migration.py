#!/usr/bin/python3
"""From Postfix to Millrace and side by side with it: the queue of a stopped Postfix is taken over whole; where a
Postfix runs nothing is touched."""
import os
import re
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import postfix  # noqa: E402
from instance import wait_until  # noqa: E402
from peers import OpenDkim  # noqa: E402


class Migration(case.Case):
    MAIN = "smtp_line_length_limit = 0\n"

    @classmethod
    def prepare(cls):
        if not postfix.available():
            raise unittest.SkipTest("needs root and Debian's postfix")
        cls.dkim = OpenDkim(cls.work, "s")
        cls.addClassCleanup(cls.dkim.end)
        with open(os.path.join(cls.work, "checks"), "w", encoding="ascii") as out:
            out.write("/^Subject: hold/ HOLD\n")
        cls.postfix = postfix.Postfix(cls.work, "relayhost = [127.0.0.1]:%d\nrelay_transport = relay:[127.0.0.1]:%d\n"
                                      "smtpd_milters = %s\nheader_checks = pcre:%s/checks\nsmtputf8_enable = no\n"
                                      % (cls.next.port, cls.next.port, cls.dkim.milter, cls.work))
        cls.addClassCleanup(cls.postfix.stop)

    def fill(self):
        """Messages of all kinds in Postfix's queue: deferred, held, signed by a milter, half delivered, large."""
        self.next.replies["RCPT"] = lambda argument: None if "<done@" in argument else "451 4.2.0 later"
        large = b"Subject: large\n\n" + b"0123456789abcde\n" * 20000
        self.postfix.submit(b"Subject: local\n\nbody\n", "-N", "success", "-V", "env1", "-R", "hdrs", "b@dest.example")
        self.postfix.submit(large, "-f", "", "big@dest.example")
        self.postfix.submit(b"Subject: half\n\nbody\n", "done@dest.example", "open@dest.example")
        self.postfix.submit(b"Subject: hold\n\nbody\n", "held@dest.example")
        client = case.Client(self.postfix.port)
        reply = client.message(b"From: a@sender.example\r\nSubject: signed\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nhello\r\n..\r\n",
                               recipients=("<signed@dest.example> ORCPT=rfc822;orig@dest.example",))
        self.assertTrue(reply.startswith("250"), reply + "\n" + self.postfix.log_text())
        client.say("QUIT")
        client.close()
        for name in ("b", "big", "open", "signed"):
            wait_until(lambda name=name: re.search(r"to=<%s@dest.example>.*status=deferred" % name, self.postfix.log_text()),
                       30, name + " is deferred")
        wait_until(lambda: re.search(r"to=<done@dest.example>.*status=sent", self.postfix.log_text()), 30, "one half is delivered")
        wait_until(lambda: "hold: header Subject: hold" in self.postfix.log_text(), 30, "one message is held")

    def test_the_queue_is_taken_over(self):
        self.postfix.start()
        self.fill()
        refused = self.instance.command("queue", "import", self.postfix.queue, check=False)
        self.assertEqual(refused.returncode, 1)
        self.assertIn("a mail system is running on " + self.postfix.queue, refused.stderr)
        self.postfix.stop()
        refused = self.instance.command("queue", "import", self.postfix.queue, check=False)
        self.assertIn("a mail system is running on " + self.instance.queue, refused.stderr)
        self.instance.stop()
        before = len(self.postfix.queued())
        self.assertEqual(before, 5)
        broken = os.path.join(self.postfix.queue, "deferred", "ABCDEF0123")
        with open(broken, "wb") as out:
            out.write(b"no queue file")
        os.chmod(broken, 0o700)
        looked = self.instance.command("queue", "import", "-n", self.postfix.queue, check=False)
        self.assertIn("5 messages would be taken over, 1 left where it is", looked.stdout)
        self.assertEqual(len(self.postfix.queued()), 6)
        done = self.instance.command("queue", "import", self.postfix.queue, check=False)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        self.assertIn("5 messages taken over, 1 left where it is", done.stdout)
        self.assertIn(broken, done.stderr)
        self.assertEqual(self.postfix.queued(), [broken])
        listed = self.instance.command("queue", "-p").stdout
        self.assertRegex(listed, r"!.*\n +held@dest.example")
        # Nobody gets a message twice, and each is what Postfix would have sent.
        self.next.replies.clear()
        self.next.clear()
        self.instance.start()
        self.instance.command("flush")
        messages = {re.search("Subject: (.*?)\r\n", m.content.decode("latin-1")).group(1): m for m in self.next.wait(4)}
        self.assertEqual(set(messages), {"local", "large", "half", "signed"})
        self.assertEqual(len(messages["half"].recipients), 1)
        self.assertIn("<open@dest.example>", messages["half"].recipients[0])
        self.assertEqual(messages["large"].body(), b"0123456789abcde\r\n" * 20000)
        self.assertIn("<>", messages["large"].sender)
        self.assertIn("RET=HDRS", messages["local"].sender)
        self.assertIn("ENVID=env1", messages["local"].sender)
        self.assertIn("NOTIFY=SUCCESS", messages["local"].recipients[0])
        self.assertIn("ORCPT=rfc822;orig@dest.example", messages["signed"].recipients[0])
        signed = messages["signed"].content
        self.assertIn(b"DKIM-Signature: ", signed)
        self.assertTrue(signed.endswith(b"\r\n\r\nhello\r\n..\r\n"), signed)
        held = re.search(r"^(\w+)!", listed, re.M).group(1)
        self.instance.command("super", "-H", held)
        self.instance.command("queue", "-i", held)
        self.next.wait(5)
        wait_until(lambda: "Mail queue is empty" in self.instance.command("queue", "-p").stdout, 20, "an empty queue")

    def test_not_where_a_postfix_runs(self):
        """The lock of Postfix's master keeps ours away, and ours Postfix's."""
        self.postfix.start()
        try:
            ours = self.make("beside", queue=self.postfix.queue)
            done = ours.command("start", check=False)
            self.assertEqual(done.returncode, 1)
            self.assertIn("a mail system is already running on " + self.postfix.queue, done.stderr)
        finally:
            self.postfix.stop()
        log = os.path.join(self.work, "second")
        with open(log, "wb") as out:
            ours.start()
            try:
                other = subprocess.run(["postfix", "-c", self.postfix.conf, "start"], stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=out, check=False, timeout=60)
            finally:
                ours.stop()
        self.assertNotEqual(other.returncode, 0)


if __name__ == "__main__":
    case.main()
