#!/usr/bin/python3
"""What the next hop refuses comes back as a notice per RFC 3464; what it cannot take now waits and arrives later;
the log of it all adds up in pflogsumm."""
import email
import email.policy
import os
import re
import shutil
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: wanted back\r\nMessage-Id: <orig@sender.example>\r\n\r\nsecret body\r\n"


class Notices(case.Case):
    MAIN = """minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
relay_domains = dest.example, other.example
"""

    def setUp(self):
        super().setUp()
        self.instance.command("super", "-d", "ALL")
        self.next.clear()

    def notice(self, message):
        """The parts of a delivery status notification, its form checked."""
        parsed = email.message_from_bytes(message.content, policy=email.policy.SMTP)
        self.assertEqual(parsed.defects, [])
        self.assertEqual(message.sender.split(" ")[0], "FROM:<>")
        self.assertEqual(parsed.get_content_type(), "multipart/report")
        self.assertEqual(parsed.get_param("report-type"), "delivery-status")
        self.assertEqual(parsed["Auto-Submitted"], "auto-replied")
        self.assertIn("MAILER-DAEMON@mx.mill.example", parsed["From"])
        for name in ("Date", "Message-Id", "Subject", "To"):
            self.assertTrue(parsed[name], name)
        text, status, original = parsed.get_payload()
        self.assertEqual(text.get_content_type(), "text/plain")
        self.assertEqual(status.get_content_type(), "message/delivery-status")
        self.assertIn(original.get_content_type(), ("message/rfc822", "text/rfc822-headers"))
        return parsed, text.get_content(), status.get_payload(), original

    def test_refused_recipient(self):
        self.next.replies["RCPT"] = lambda to: "550 5.1.1 no such user" if "b@dest" in to else None
        reply = self.submit(MAIL, recipients=["<b@dest.example>", "<c@dest.example>"])
        queue_id = self.queue_id(reply)
        messages = self.next.wait(2)
        bounce = [m for m in messages if m.sender.startswith("FROM:<>")][0]
        self.assertEqual(bounce.recipients[0].split(" ")[0], "TO:<a@sender.example>")
        parsed, text, status, original = self.notice(bounce)
        self.assertEqual(parsed["Subject"], "Undelivered Mail Returned to Sender")
        self.assertEqual(parsed["To"], "a@sender.example")
        self.assertIn("550 5.1.1 no such user", re.sub(r"\s+", " ", text))
        per_message, per_recipient = status
        self.assertEqual(per_message["Reporting-MTA"], "dns; mx.mill.example")
        self.assertEqual(per_message["X-Postfix-Queue-ID"] or per_message["X-Millrace-Queue-ID"], queue_id)
        self.assertIn("rfc822; a@sender.example", [per_message["X-Postfix-Sender"] or per_message["X-Millrace-Sender"]])
        self.assertEqual(per_recipient["Final-Recipient"], "rfc822; b@dest.example")
        self.assertEqual((per_recipient["Action"], per_recipient["Status"]), ("failed", "5.1.1"))
        self.assertEqual(re.sub(r"\s+", " ", per_recipient["Diagnostic-Code"]), "smtp; 550 5.1.1 no such user")
        self.assertEqual(per_recipient["Remote-MTA"], "dns; 127.0.0.1")
        self.assertEqual(original.get_payload()[0]["Subject"], "wanted back")
        self.assertIn("secret body", original.get_payload()[0].get_payload())
        self.wait_log(r"postfix/bounce\[\d+\]: %s: sender non-delivery notification: \w+" % queue_id)
        self.wait_log(r"postfix/smtp\[\d+\]: %s: to=<b@dest\.example>, relay=.* dsn=5\.1\.1, status=bounced \(host .* said: 550 5\.1\.1 no such user"
                      r" \(in reply to RCPT TO command\)\)" % queue_id)
        self.wait_log(r"postfix/qmgr\[\d+\]: %s: removed" % queue_id)

    def test_refused_at_each_step(self):
        for step, reply, words in (("MAIL", "552 5.3.4 too big", "MAIL FROM command"), ("DATA", "554 5.7.0 no", "DATA command"),
                                   (".", "550 5.6.0 rubbish", "end of DATA command")):
            with self.subTest(step):
                self.next.clear()
                self.next.replies.clear()
                self.next.replies[step] = lambda what, text=reply: text if "<>" not in getattr(what, "sender", what) else None
                if step == "DATA":
                    seen = []
                    self.next.replies[step] = lambda _, s=seen, text=reply: (s.append(1), text)[1] if not s else None
                self.submit(MAIL)
                _, text, status, _ = self.notice(self.next.wait(1)[0])
                self.assertIn(words, re.sub(r"\s+", " ", text))
                self.assertEqual(status[1]["Action"], "failed")

    def test_bounce_of_a_bounce_ends(self):
        self.next.replies["RCPT"] = "550 5.1.1 nobody at all"
        queue_id = self.queue_id(self.submit(MAIL))
        notice = self.wait_log(r"%s: sender non-delivery notification: (\w+)" % queue_id).group(1)
        self.wait_log(r"%s: to=<a@sender\.example>.*status=bounced" % notice)
        self.wait_log(r"qmgr\[\d+\]: %s: removed" % notice)
        wait_until(lambda: "is empty" in self.instance.command("queue", "-p").stdout, 5, "an empty queue")
        null = self.queue_id(self.submit(MAIL, sender="<>"))
        self.wait_log(r"qmgr\[\d+\]: %s: removed" % null)
        self.assertNotRegex(self.instance.log_text(), r"%s: sender non-delivery" % null)

    def test_success_and_delay_notices_asked_for(self):
        client = self.client()
        client.say("EHLO c")
        client.say("MAIL FROM:<a@sender.example> RET=HDRS ENVID=QQ314")
        client.say("RCPT TO:<b@dest.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;orig@dest.example")
        client.say("DATA")
        client.send(MAIL + b".\r\n")
        client.reply()
        message = self.next.wait(1)[0]
        # The next hop knows DSN: it is its business now.
        self.assertIn("RET=HDRS", message.sender)
        self.assertIn("ENVID=QQ314", message.sender)
        self.assertIn("NOTIFY=SUCCESS,FAILURE", message.recipients[0])
        self.assertIn("ORCPT=rfc822;orig@dest.example", message.recipients[0])
        # NEVER keeps it silent, HDRS keeps the body out.
        self.next.clear()
        self.next.replies["RCPT"] = lambda to: "550 5.1.1 no" if "dest.example" in to else None
        for notify, count in (("NEVER", 0), ("FAILURE", 1)):
            client.say("MAIL FROM:<a@sender.example> RET=HDRS")
            client.say("RCPT TO:<b@dest.example> NOTIFY=" + notify)
            client.say("DATA")
            client.send(MAIL + b".\r\n")
            queue_id = self.queue_id(client.reply())
            self.wait_log(r"qmgr\[\d+\]: %s: removed" % queue_id)
            if count:
                _, _, status, original = self.notice(self.next.wait(1)[0])
                self.assertEqual(original.get_content_type(), "text/rfc822-headers")
                self.assertNotIn("secret body", original.as_string())
            else:
                time.sleep(0.5)
                self.assertEqual(len(self.next.messages), 0)

    def test_deferred_then_delivered(self):
        self.next.down()
        try:
            queue_id = self.queue_id(self.submit(MAIL))
            self.wait_log(r"%s: to=<b@dest\.example>, relay=none, .*dsn=4\.4\.1, status=deferred \(connect to 127\.0\.0\.1\[127\.0\.0\.1\]:%d: "
                          r"Connection refused\)" % (queue_id, self.next.port))
            time.sleep(1.5)
        finally:
            self.next.up()
        message = self.next.wait(1, 30)[0]
        self.assertIn(b"secret body", message.content)
        self.wait_log(r"%s: to=<b@dest\.example>.*delay=.*status=sent" % queue_id)
        for step, reply in (("connect", "421 4.3.2 busy"), ("EHLO", "421 4.3.2 later"), ("MAIL", "451 4.3.0 later"),
                            ("RCPT", "450 4.2.0 later"), ("DATA", "451 4.3.0 later"), (".", "452 4.3.1 later"), (".", "")):
            with self.subTest(step + reply):
                self.next.clear()
                self.next.replies[step] = reply
                queue_id = self.queue_id(self.submit(MAIL))
                self.wait_log(r"%s: to=<b@dest\.example>.*status=deferred" % queue_id)
                self.next.replies.clear()
                self.next.wait(1, 30)
                self.wait_log(r"qmgr\[\d+\]: %s: removed" % queue_id)

    def test_expired(self):
        instance = self.make("expiring", self.MAIN + "maximal_queue_lifetime = 2s\nbounce_queue_lifetime = 2s\ndelay_warning_time = 0\n")
        instance.start()
        self.addCleanup(instance.stop)
        self.next.replies["RCPT"] = lambda to: "450 4.2.0 later" if "dest.example" in to else None
        queue_id = self.queue_id(self.submit(MAIL, instance))
        _, _, status, _ = self.notice(self.next.wait(1, 30)[0])
        self.assertEqual((status[1]["Action"], status[1]["Status"]), ("failed", "4.2.0"))
        self.wait_log(r"%s: from=<a@sender\.example>, status=expired, returned to sender" % queue_id, instance=instance)


@unittest.skipUnless(shutil.which("pflogsumm"), "no pflogsumm")
class Pflogsumm(case.Case):
    MAIN = """minimal_backoff_time = 300s
smtpd_sender_restrictions = check_sender_access inline:{bad@sender.example=REJECT}
"""

    def test_counts(self):
        reply_to = {"TO:<defer@dest.example>": "450 4.2.0 later", "TO:<bounce@dest.example>": "550 5.1.1 no"}
        self.next.replies["RCPT"] = lambda to: reply_to.get(to.split(" ")[0])
        for _ in range(5):
            self.submit(MAIL)
        self.submit(MAIL, recipients=["<b@dest.example>", "<c@dest.example>"])
        self.submit(MAIL, recipients=["<defer@dest.example>"])
        self.submit(MAIL, recipients=["<bounce@dest.example>"], sender="<>")
        for _ in range(3):
            self.assertTrue(self.submit(MAIL, sender="<bad@sender.example>").startswith("554"))
        self.next.wait(6)
        self.wait_log("status=bounced")
        self.wait_log("status=deferred")
        wait_until(lambda: self.instance.log_text().count("disconnect from") >= 12, 5, "all sessions ended")
        report = self.run_tool("pflogsumm", self.instance.log).stdout.decode()
        counts = {word: int(number) for number, word in re.findall(r"(?m)^ +(\d+) +(received|delivered|forwarded|deferred|bounced|rejected|"
                                                                   r"reject warnings|held|discarded)", report)}
        self.assertEqual({k: counts[k] for k in ("received", "delivered", "deferred", "bounced", "rejected", "held")},
                         {"received": 8, "delivered": 7, "deferred": 1, "bounced": 1, "rejected": 3, "held": 0}, report)
        self.assertRegex(report, r"(?m)^ +7 +\d+ +dest\.example|^ +7 .*dest\.example")
        self.assertIn("Sender address rejected: Access denied", report)


if __name__ == "__main__":
    case.main()
