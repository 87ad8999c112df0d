#!/usr/bin/python3
"""Address verification asks the next hop and delivers nothing; what it learned outlives a restart and a damaged cache;
the postmaster gets the transcript of a session that went wrong, and a notice nobody takes ends."""
import glob
import os
import re
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nSubject: x\r\n\r\nsecret body\r\n"


class Verify(case.Case):
    MAIN = """relay_domains = dest.example
address_verify_poll_delay = 5s
unverified_recipient_reject_code = 550
smtpd_recipient_restrictions = reject_unauth_destination, reject_unverified_recipient
"""

    def setUp(self):
        super().setUp()
        self.asked = []
        self.next.replies["RCPT"] = self.rcpt

    def rcpt(self, to):
        self.asked.append(to.split(" ")[0])
        return {"TO:<bad@dest.example>": "550 5.1.1 no such user", "TO:<later@dest.example>": "451 4.7.1 wait"}.get(to.split(" ")[0])

    def ask(self, address, instance=None):
        client = self.client(instance)
        client.say("EHLO c")
        client.say("MAIL FROM:<a@sender.example>")
        reply = client.say("RCPT TO:<%s>" % address)
        client.say("QUIT")
        return reply

    def test_answers_are_those_of_the_next_hop(self):
        self.assertEqual(self.ask("good@dest.example"), "250 2.1.5 Ok")
        self.assertRegex(self.ask("bad@dest.example"), r"^550 5\.1\.1 <bad@dest\.example>: Recipient address rejected: undeliverable address: "
                         r"host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 no such user \(in reply to RCPT TO command\)$")
        self.assertRegex(self.ask("later@dest.example"), r"^450 4\.1\.1 .*unverified address: .*451 4\.7\.1 wait")
        self.wait_log(r"to=<good@dest\.example>, .*dsn=2\..*status=deliverable \(250 ")
        self.wait_log(r"to=<bad@dest\.example>, .*dsn=5\.1\.1, status=undeliverable \(host ")
        # Nothing was sent, nothing waits.
        self.assertEqual(self.next.messages, [])
        self.assertIn("is empty", self.instance.command("queue", "-p").stdout)
        self.assertTrue(self.submit(MAIL, recipients=["<good@dest.example>"]).startswith("250"))
        self.next.wait(1)

    def test_what_was_learned_outlives_restarts_and_damage(self):
        instance = self.make("lasting", self.MAIN)
        instance.start()
        self.addCleanup(instance.stop)
        self.assertTrue(self.ask("one@dest.example", instance).startswith("250"))
        self.asked.clear()
        instance.stop()
        instance.start()
        self.assertTrue(self.ask("one@dest.example", instance).startswith("250"))
        self.assertEqual(self.asked, [])
        instance.stop()
        found = glob.glob(os.path.join(self.work, "**", "state", "state.mdb"), recursive=True)
        self.assertTrue(found)
        for path in found:
            if "lasting" in path or len(found) == 1:
                with open(path, "r+b") as state:
                    state.write(b"\x5a" * 16384)
        instance.start()
        self.assertTrue(self.ask("one@dest.example", instance).startswith("250"))
        self.assertEqual(self.asked, ["TO:<one@dest.example>"])
        self.wait_log("state: the state is damaged", instance=instance)


class Postmaster(case.Case):
    MAIN = """relay_domains = dest.example
notify_classes = policy, protocol, bounce
error_notice_recipient = errors@dest.example
bounce_notice_recipient = bounces@dest.example
smtpd_recipient_restrictions = check_recipient_access inline:{ {no@dest.example = REJECT no way} }, reject_unauth_destination
"""

    def test_transcript(self):
        client = self.client()
        client.say("EHLO trouble")
        client.say("FOO \x7f bar")
        client.say("MAIL FROM:<a@sender.example>")
        client.say("RCPT TO:<no@dest.example>")
        client.close()
        message = self.next.wait(1)[0]
        self.assertTrue(message.sender.startswith("FROM:<double-bounce@mx.mill.example>"), message.sender)
        self.assertTrue(message.recipients[0].startswith("TO:<errors@dest.example>"))
        body = message.body().decode()
        self.assertIn(" In:  FOO ? bar\r\n Out: 500 5.5.2", body)
        self.assertIn(" Out: 554 5.7.1 <no@dest.example>: Recipient address rejected: no way\r\n", body)
        self.assertIn("Session aborted, reason: lost connection", body)
        self.assertRegex(message.header_bytes().decode(), r"Subject: \S+ SMTP server: errors from ")

    def test_no_transcript_after_success(self):
        client = self.client()
        client.say("EHLO fine")
        client.say("FOO")
        self.assertTrue(client.message(MAIL, helo=None).startswith("250"))
        client.say("QUIT")
        client.close()
        self.next.wait(1)
        self.wait_log("disconnect from .* unknown=0/1")
        self.assertEqual(len(self.next.messages), 1)

    def test_copies_of_bounces_end_with_the_postmaster(self):
        self.next.replies["RCPT"] = "550 5.1.1 nobody"
        queue_id = self.queue_id(self.submit(MAIL))
        copy = self.wait_log(r"%s: postmaster non-delivery notification: (\w+)" % queue_id).group(1)
        self.wait_log(r"bounce\[\d+\]: warning: %s: undeliverable postmaster notification discarded" % copy)
        wait_until(lambda: "is empty" in self.instance.command("queue", "-p").stdout, 5, "an empty queue")
        self.assertFalse(re.search(r"%s: (sender|postmaster) non-delivery" % copy, self.instance.log_text()))


if __name__ == "__main__":
    case.main()
