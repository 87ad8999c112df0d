#!/usr/bin/python3
"""Every answer at every stage, from a filter built on libmilter, behind Millrace and behind Debian's Postfix: the same
replies, the same messages delivered, the same ones held.  usage: replies.py PEER --millrace BIN"""
import os
import re
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import real_milters  # noqa: E402
from instance import wait_until  # noqa: E402
from real_milters import MAIL, Real, case, normal  # noqa: E402

PEER = sys.argv.pop(1)
ANSWERS = ("continue", "accept", "reject", "tempfail", "discard", "five", "four", "lines", "bye")


class Replies(Real):
    @classmethod
    def start(cls):
        path = os.path.join(cls.work, "replies.sock")
        cls.run_peer(PEER, "unix:" + path, wait=path)
        return "unix:" + path

    def play(self, server, source=None, helo="client.example", sender="a", recipients=("b",)):
        """The replies of a session with two messages and an unknown command, and what came of them."""
        self.next.clear()
        log_before = len(server.log_text())
        client = self.client(server, source=source)

        def say(line):
            try:
                return client.say(line)
            except OSError:
                return ""   # it has hung up

        said = [client.greeting, say("EHLO " + helo).split("\n")[0].replace("-", " ", 1), say("unknown." + sender)]
        for who in (sender, "second"):
            said.append(say("MAIL FROM:<%s@sender.example>" % who))
            said += [say("RCPT TO:<%s@dest.example>" % one) for one in (*recipients, "c")]
            said.append(say("DATA"))
            if said[-1].startswith("354"):
                client.send(MAIL.replace(b"hello", who.encode()) + b".\r\n")
                said.append(client.reply())
            said.append(say("RSET"))
            if not said[-1]:
                break
        client.close()
        ids = [id for line in said for id in re.findall(r"queued as (\w+)", line)]
        gone = lambda: re.findall(r"milter-(?:discard|hold)", server.log_text()[log_before:])
        wait_until(lambda: len(self.next.messages) + len(gone()) >= len(ids), 20, "each message delivered, held or dropped")
        mails = self.next.messages
        got = sorted([m.sender.split(" ")[0], sorted(r.split(" ")[0] for r in m.recipients), [normal(h, ids) for h in m.headers()],
                      m.body()] for m in mails)
        return [normal(line.encode(), ids) for line in said], got, sorted(gone())

    def same(self, **what):
        with self.subTest(**what):
            mine = self.play(self.instance, **what)
            if self.postfix:
                self.maxDiff = None
                self.assertEqual(mine, self.play(self.postfix, **what))

    def test_connect(self):
        for number, _ in enumerate(ANSWERS):
            self.same(source="127.0.1.%d" % number)

    def test_helo(self):
        for answer in ANSWERS:
            self.same(helo="helo.%s.example" % answer)

    def test_recipients(self):
        for answer in ANSWERS:
            self.same(recipients=("b", "rcpt." + answer, "d"))

    def test_stages_of_the_message(self):
        for stage in ("unknown", "mail", "data", "header", "eoh", "body", "eom"):
            for answer in ANSWERS:
                self.same(sender="%s.%s" % (stage, answer))

    def test_end_of_message(self):
        for sender in ("body.skip", "eom.quarantine", "eom.progress", "eom.edit"):
            self.same(sender=sender)


del Real
for name in dir(real_milters):   # its own tests are another program
    if isinstance(getattr(real_milters, name), type):
        globals().pop(name, None)

if __name__ == "__main__":
    case.main()
