#!/usr/bin/python3
"""Variable envelope return paths (VERP_README): asked for with sendmail -XV and XVERP; each recipient's copy comes from a sender of
its own, what fails goes back to that sender, and a message keeps its delimiters while it waits."""
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

CONTENT = b"From: list@list.example\r\nSubject: news\r\n\r\nbody\r\n"


class Verp(case.Case):
    MAIN = """minimal_backoff_time = 1s
maximal_backoff_time = 1s
queue_run_delay = 1s
smtpd_authorized_verp_clients = 127.0.0.1
virtual_alias_maps = inline:{ {alias@dest.example = real@dest.example} }
"""

    @classmethod
    def prepare(cls):
        cls.bin = os.path.join(cls.work, "bin")
        os.makedirs(cls.bin)
        for name in ("millrace", "postdrop"):
            shutil.copy(os.path.join(os.path.dirname(case.BINARY), name), cls.bin)
        os.symlink("millrace", os.path.join(cls.bin, "sendmail"))

    def sendmail(self, *args, status=0):
        return self.run_tool(os.path.join(self.bin, "sendmail"), *args, input=b"Subject: s\n\nx\n", status=status,
                             env=dict(os.environ, MAIL_CONFIG=self.instance.conf))

    def pairs(self, count):
        """{recipient: sender} of what arrived."""
        out = {}
        for message in self.next.wait(count):
            self.assertEqual(len(message.recipients), 1, message.recipients)
            out[re.search("<(.*?)>", message.recipients[0]).group(1)] = re.search("<(.*?)>", message.sender).group(1)
        return out

    def test_sendmail(self):
        self.sendmail("-XV", "-f", "owner-list@list.example", "a@dest.example", "b.c@dest.example")
        self.assertEqual(self.pairs(2), {"a@dest.example": "owner-list+a=dest.example@list.example",
                                         "b.c@dest.example": "owner-list+b.c=dest.example@list.example"})
        self.next.clear()
        self.sendmail("-XV-+", "-f", "o@list.example", "a@dest.example")
        self.assertEqual(self.pairs(1), {"a@dest.example": "o-a+dest.example@list.example"})
        self.next.clear()
        done = self.sendmail("-V=+", "-f", "o@list.example", "a@dest.example")
        self.assertIn(b"option -V=+ is deprecated with Postfix 2.3; specify -XV=+ instead", done.stderr)
        self.assertEqual(self.pairs(1), {"a@dest.example": "o=a+dest.example@list.example"})

    def test_sendmail_refuses(self):
        for args, text in ((("-XVab", "-f", "o@x"), b"-V requires two characters from -=+"), (("-XV+", "-f", "o@x"), b"-V requires two characters"),
                           (("-XV", "-f", "<>"), b"-V option requires non-null sender address")):
            self.assertIn(text, self.sendmail(*args, "a@dest.example", status=75).stderr)
        self.assertEqual(os.listdir(os.path.join(self.instance.queue, "maildrop")), [])

    def mail(self, command, *recipients, instance=None):
        client = self.client(instance)
        client.say("EHLO c")
        reply = client.say(command)
        if reply.startswith("250"):
            for one in recipients:
                client.say("RCPT TO:<%s>" % one)
            client.say("DATA")
            client.send(CONTENT + b".\r\n")
            reply = client.reply()
        client.say("QUIT")
        return reply

    def test_smtp(self):
        self.assertIn("250-XVERP", self.client().say("EHLO c"))
        self.mail("MAIL FROM:<o@list.example> XVERP", "a@dest.example", "b@dest.example")
        self.assertEqual(self.pairs(2), {"a@dest.example": "o+a=dest.example@list.example", "b@dest.example": "o+b=dest.example@list.example"})
        self.next.clear()
        self.mail("MAIL FROM:<o@list.example> SIZE=10 xverp=-+", "a@dest.example")
        self.assertEqual(self.pairs(1), {"a@dest.example": "o-a+dest.example@list.example"})
        self.next.clear()
        # The address as it was given is what the list's manager knows.
        self.mail("MAIL FROM:<o@list.example> XVERP", "alias@dest.example")
        self.assertEqual(self.pairs(1), {"real@dest.example": "o+alias=dest.example@list.example"})
        for command, reply in (("MAIL FROM:<o@x> XVERP=a+", "501 5.5.4 Error: XVERP needs two characters from -=+"),
                               ("MAIL FROM:<o@x> XVERP=", "501 5.5.4 Error: XVERP needs two characters from -=+"),
                               ("MAIL FROM:<> XVERP", "503 5.5.4 Error: XVERP requires non-null sender"),
                               ("MAIL FROM:<o@x> XVERPX", "555 5.5.4 Unsupported option: XVERPX")):
            self.assertEqual(self.mail(command), reply)

    def test_only_for_who_may(self):
        other = self.make("closed", "")
        other.start()
        self.addCleanup(other.stop)
        self.assertNotIn("XVERP", self.client(other).say("EHLO c"))
        self.assertEqual(self.mail("MAIL FROM:<o@x> XVERP", instance=other), "555 5.5.4 Unsupported option: XVERP")

    def test_bounces_go_to_the_personal_senders(self):
        self.next.replies["RCPT"] = lambda to: "550 5.1.1 no" if "@dest.example" in to else None
        queue_id = self.queue_id(self.mail("MAIL FROM:<o@list.example> XVERP", "a@dest.example", "b@dest.example"))
        got = sorted(re.search("<(.*?)>", message.recipients[0]).group(1) for message in self.next.wait(2))
        self.assertEqual(got, ["o+a=dest.example@list.example", "o+b=dest.example@list.example"])
        for message in self.next.messages:
            self.assertTrue(message.sender.startswith("FROM:<>"))
            self.assertEqual(message.content.count(b"Final-Recipient: "), 1)
        wait_until(lambda: len(re.findall(queue_id + ": sender non-delivery notification: ", self.instance.log_text())) == 2, 5, "two notices")
        self.wait_log(queue_id + ": removed")

    def test_bounces_together_where_that_is_wanted(self):
        other = self.make("together", self.MAIN + "disable_verp_bounces = yes\n")
        other.start()
        self.addCleanup(other.stop)
        self.next.replies["RCPT"] = lambda to: "550 5.1.1 no" if "@dest.example" in to else None
        queue_id = self.queue_id(self.mail("MAIL FROM:<o@list.example> XVERP", "a@dest.example", "b@dest.example", instance=other))
        self.wait_log(queue_id + ": removed", instance=other)
        message = self.next.wait(1)[0]
        self.assertTrue(message.recipients[0].startswith("TO:<o@list.example>"))
        self.assertEqual(message.content.count(b"Final-Recipient: "), 2)

    def test_a_message_that_waits_keeps_it(self):
        self.next.replies["RCPT"] = "451 4.2.0 later"
        queue_id = self.queue_id(self.mail("MAIL FROM:<o@list.example> XVERP=-+", "a@dest.example"))
        self.wait_log(queue_id + r": to=<a@dest\.example>.*status=deferred")
        self.instance.stop()
        self.next.replies.clear()
        self.instance.start()
        self.assertEqual(self.pairs(1), {"a@dest.example": "o-a+dest.example@list.example"})

    @unittest.skipUnless(os.path.exists("/usr/sbin/postfix"), "no Postfix")
    def test_same_text_as_postfix(self):
        """Debian's sendmail writes what our pickup reads."""
        drop = os.path.join(self.instance.queue, "maildrop")
        before = set(os.listdir(drop))
        script = "mount --bind %s /etc/postfix && mount --bind %s /var/spool/postfix && /usr/sbin/sendmail -XV-+ -f o@list.example a@dest.example" % (
            self.instance.conf, self.instance.queue)
        done = subprocess.run(["unshare", "-m", "sh", "-c", script], input=b"Subject: x\n\ny\n", capture_output=True, check=False)
        if done.returncode != 0:
            self.skipTest("Debian's sendmail does not run here: %s" % done.stderr[-200:])
        self.assertLessEqual(before, set(os.listdir(drop)) | before)
        self.assertEqual(self.pairs(1), {"a@dest.example": "o-a+dest.example@list.example"})


if __name__ == "__main__":
    case.main()
