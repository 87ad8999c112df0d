#!/usr/bin/python3
"""The same traffic through Debian's Postfix and through Millrace; pflogsumm, mailgraph's parser and fail2ban's
postfix filters must count the same in both logs.  Local mail refused by header_checks is left out of it: Postfix's
cleanup returns it, here the error transport does, which mailgraph counts apart."""
import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "..", "support"))
import case  # noqa: E402
import postfix  # noqa: E402
from instance import wait_until  # noqa: E402

MAIN = """smtpd_helo_required = yes
smtpd_peername_lookup = no
smtpd_recipient_restrictions = reject_non_fqdn_recipient, check_recipient_access inline:{spamtrap@dest.example=REJECT, grey@dest.example=DEFER}, permit_mynetworks, reject
smtpd_relay_restrictions = reject_unauth_destination
smtpd_sender_restrictions = check_sender_access inline:{{bad@sender.example=REJECT go away}, {warned@sender.example=WARN hm}}
smtpd_helo_restrictions = check_helo_access inline:{evil.example=REJECT}
header_checks = pcre:%(work)s/checks
smtp_line_length_limit = 0
smtpd_client_event_limit_exceptions =
relayhost = [127.0.0.1]:%(next)d
relay_transport = relay:[127.0.0.1]:%(next)d
"""


class Logs(case.Case):
    MAIN = MAIN

    @classmethod
    def prepare(cls):
        if not postfix.available():
            raise unittest.SkipTest("needs root and Debian's postfix")
        with open(os.path.join(cls.work, "checks"), "w", encoding="ascii") as out:
            out.write("/^Subject: unwanted/ REJECT no thanks\n/^Subject: odd/ WARN odd one\n/^Subject: gone/ DISCARD\n")
        cls.postfix = postfix.Postfix(cls.work, MAIN % {"work": cls.work, "next": cls.next.port})
        cls.addClassCleanup(cls.postfix.stop)
        cls.postfix.start()

    def traffic(self, port, local, log):
        """All of it through one mail system, until it is through."""
        def transaction(*lines, content=None, helo="client.example"):
            client = case.Client(port)
            client.say("EHLO " + helo)
            for line in lines:
                client.say(line)
            if content is not None and client.say("DATA").startswith("354"):
                client.send(b"Subject: " + content + b"\r\nFrom: a@sender.example\r\n\r\nhello\r\n.\r\n")
                client.reply()
            client.say("QUIT")
            client.close()

        sender, good = "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>"
        for number in range(5):
            transaction(sender, good, content=b"number %d" % number)
        transaction(sender, good, "RCPT TO:<c@dest.example>", content=b"two")
        transaction(sender, "RCPT TO:<refused@dest.example>", content=b"bounces")
        transaction(sender, "RCPT TO:<later@dest.example>", content=b"deferred")
        transaction(sender, "RCPT TO:<spamtrap@dest.example>", "RCPT TO:<spamtrap@dest.example>")
        transaction(sender, "RCPT TO:<grey@dest.example>")
        transaction(sender, "RCPT TO:<x@elsewhere.example>")
        transaction(sender, "RCPT TO:<nodomain>")
        transaction("MAIL FROM:<bad@sender.example>", good)
        transaction("MAIL FROM:<warned@sender.example>", good, content=b"warned")
        transaction(sender, good, helo="evil.example")
        transaction(sender, good, content=b"unwanted thing")
        transaction(sender, good, content=b"odd thing")
        transaction(sender, good, content=b"gone")
        transaction("MAIL FROM:<@@>", "RCPT TO:<>", "BOGUS", "VRFY x")
        client = case.Client(port)   # leaves without a word
        client.close()
        client = case.Client(port)
        client.say("EHLO x.example")
        client.close()
        for number in range(3):
            local(b"To: b@dest.example\nSubject: local %d\n\nx\n" % number)
        wait_until(lambda: len(re.findall(r"status=sent", log())) >= 12, 30, "12 deliveries")
        wait_until(lambda: re.search(r"to=<refused@dest.example>.*status=bounced", log()), 30, "the bounce")
        wait_until(lambda: re.search(r"to=<later@dest.example>.*status=deferred", log()), 30, "the deferral")
        wait_until(lambda: re.search(r"to=<a@sender.example>.*status=sent", log()), 30, "the delivered notice")
        wait_until(lambda: len(re.findall(r"smtpd\[\d+\]: disconnect from", log())) >= 22, 30, "all sessions closed")

    @classmethod
    def refusals(cls, argument):
        return "550 5.1.1 no such user" if "refused@" in argument else "451 4.2.0 later" if "later@" in argument else None

    def test_the_same_counts(self):
        self.next.replies["RCPT"] = self.refusals
        self.traffic(self.postfix.port, lambda content: self.postfix.submit(content, "-t", "-f", "a@sender.example"), self.postfix.log_text)
        self.traffic(self.instance.port, lambda content: self.instance.command("sendmail", "-t", "-f", "a@sender.example",
                                                                              input=content.decode()), self.instance.log_text)
        logs = (self.postfix.log, self.instance.log)
        for name, reader in (("pflogsumm", self.pflogsumm), ("mailgraph", self.mailgraph), ("fail2ban", self.fail2ban)):
            with self.subTest(name):
                self.assertTrue(shutil.which({"fail2ban": "fail2ban-regex"}.get(name, name)), name + " is not installed")
                theirs, ours = (reader(log) for log in logs)
                self.assertTrue(theirs)
                self.assertEqual(theirs, ours)

    def pflogsumm(self, log):
        text = subprocess.run(["pflogsumm", "--detail", "20", "--problems-first", log], capture_output=True, text=True, check=True).stdout
        totals = text.split("Grand Totals")[1].split("Per-Hour")[0]
        found = {}
        for count, what in re.findall(r"^\s+(\d+)\s+([a-z][a-z ]+?)\s*(?:\(.*)?$", totals, re.M):
            if not what.startswith("bytes"):
                found[what] = int(count)
        # Who was refused why, without the numbers that differ: sizes and times.
        details = text.split("message reject detail")[1].split("Warnings")[0] if "message reject detail" in text else ""
        found["details"] = sorted(re.sub(r"\s+", " ", line).strip() for line in details.splitlines() if re.search(r"\S", line))
        return found

    def mailgraph(self, log):
        return subprocess.run(["perl", os.path.join(HERE, "mailgraph.pl"), log], capture_output=True, text=True, check=True).stdout

    def fail2ban(self, log):
        found = {}
        for mode in ("normal", "auth", "aggressive", "more", "extra", "ddos", "rbl", "errors"):
            text = subprocess.run(["fail2ban-regex", log, "postfix[mode=%s]" % mode], capture_output=True, text=True, check=False).stdout
            match = re.search(r"Lines: \d+ lines, \d+ ignored, (\d+) matched", text)
            found[mode] = int(match.group(1)) if match else text
        return found


if __name__ == "__main__":
    case.main()
