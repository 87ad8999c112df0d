#!/usr/bin/python3
"""The queue in an admin's hands: queue, super and cat, while the daemon runs and while it does not."""
import json
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: number %d\r\n\r\nbody of %d\r\n"


class QueueTools(case.Case):
    MAIN = """local_header_rewrite_clients =
minimal_backoff_time = 300s
maximal_backoff_time = 300s
queue_run_delay = 300s
"""

    def setUp(self):
        super().setUp()
        self.instance.command("super", "-d", "ALL")
        self.next.replies["RCPT"] = "451 4.7.1 not now"

    def deferred(self, count, size=0):
        """Ids of `count` messages that were tried once."""
        ids = []
        for number in range(count):
            ids.append(self.queue_id(self.submit(MAIL % (number, number) + b"x" * 78 * (size // 78), sender="<s%d@sender.example>"
                                                 % number)))
        wait_until(lambda: self.queue("deferred") == sorted(ids), 15, "deferred: %s, %s" % (ids, self.listing()))
        return ids

    def listing(self):
        return [json.loads(line) for line in self.instance.command("queue", "-j").stdout.splitlines()]

    def queue(self, name):
        return sorted(entry["queue_id"] for entry in self.listing() if entry["queue_name"] == name)

    def test_listing(self):
        self.assertEqual(self.instance.command("queue", "-p").stdout, "Mail queue is empty\n")
        self.assertEqual(self.listing(), [])
        ids = self.deferred(3)
        entry = [e for e in self.listing() if e["queue_id"] == ids[1]][0]
        self.assertEqual((entry["queue_name"], entry["sender"], entry["forced_expire"]), ("deferred", "s1@sender.example", False))
        self.assertLess(abs(entry["arrival_time"] - time.time()), 60)
        self.assertGreater(entry["message_size"], 100)
        self.assertEqual(entry["recipients"][0]["address"], "b@dest.example")
        self.assertIn("451 4.7.1 not now", entry["recipients"][0]["delay_reason"])
        text = self.instance.command("queue", "-p").stdout
        self.assertTrue(text.startswith("-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n"), text)
        self.assertRegex(text, r"(?m)^%s +%d \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d  s1@sender\.example$" % (ids[1], entry["message_size"]))
        self.assertRegex(text, r"(?m)^ *\(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 451 4\.7\.1 not now \(in reply to RCPT TO command\)\)$")
        self.assertRegex(text, r"(?m)^ {40,}b@dest\.example$")
        self.assertRegex(text, r"(?m)^-- \d+ Kbytes in 3 Requests\.$")

    def test_flush(self):
        ids = self.deferred(4)
        self.next.replies.clear()
        time.sleep(1)
        self.assertEqual(len(self.next.messages), 0)
        self.instance.command("queue", "-i", ids[2])
        self.assertIn(b"number 2", self.next.wait(1)[0].content)
        time.sleep(0.5)
        self.assertEqual(self.queue("deferred"), sorted(ids[:2] + ids[3:]))
        self.instance.command("queue", "-f")
        self.next.wait(4)
        wait_until(lambda: not self.listing(), 5, "an empty queue")
        self.next.replies["RCPT"] = "451 4.7.1 not now"
        self.deferred(1)
        self.next.replies.clear()
        self.instance.command("queue", "-s", "dest.example")
        self.next.wait(5)
        self.next.replies["RCPT"] = "451 4.7.1 not now"
        self.deferred(1)
        self.next.replies.clear()
        self.instance.command("flush")
        self.next.wait(6)
        self.assertNotEqual(self.instance.command("queue", "-i", "../../x", check=False).returncode, 0)

    def test_hold_release_requeue_delete(self):
        ids = self.deferred(5)
        said = self.instance.command("super", "-h", ids[0], "-h", ids[1]).stderr
        self.assertIn("%s: placed on hold" % ids[0], said)
        self.assertIn("Placed on hold: 2 messages", said)
        self.assertEqual(self.queue("hold"), sorted(ids[:2]))
        self.assertRegex(self.instance.command("queue", "-p").stdout, r"(?m)^%s! " % ids[0])
        self.next.replies.clear()
        self.instance.command("queue", "-f")
        self.next.wait(3)
        wait_until(lambda: len(self.listing()) == 2, 5, "the held ones stay")
        self.assertIn("Released from hold: 1 message\n", self.instance.command("super", "-H", ids[0]).stderr)
        self.instance.command("queue", "-f")
        self.next.wait(4)
        self.assertIn("%s: removed" % ids[1], self.instance.command("super", "-d", ids[1]).stderr)
        self.assertEqual(self.listing(), [])
        self.wait_log(re.escape(ids[0]) + r": to=<b@dest\.example>.*status=sent")

    def test_requeue(self):
        ids = self.deferred(2)
        self.next.replies.clear()
        self.assertIn("Requeued: 1 message\n", self.instance.command("super", "-r", ids[1]).stderr)
        self.assertIn(b"number 1", self.next.wait(1)[0].content)
        self.instance.command("super", "-r", "ALL")
        self.next.wait(2)
        wait_until(lambda: not self.listing(), 5, "an empty queue")

    def test_all_and_queue_names(self):
        ids = self.deferred(6)
        for each in ids[:2]:
            self.instance.command("super", "-h", each)
        self.assertIn("Deleted: 4 messages", self.instance.command("super", "-d", "ALL", "deferred").stderr)
        self.assertEqual(self.queue("hold"), sorted(ids[:2]))
        self.assertEqual(self.queue("deferred"), [])
        self.instance.command("super", "-H", "ALL")
        wait_until(lambda: self.queue("deferred") == sorted(ids[:2]), 5, "released")
        self.instance.command("super", "-h", "ALL", "hold", check=False)
        self.instance.command("super", "-h", "ALL", "deferred")
        self.assertEqual(self.queue("hold"), sorted(ids[:2]))
        done = self.instance.command("super", "-d", "-", input="%s\n%s\n" % tuple(ids[:2]))
        self.assertIn("Deleted: 2 messages", done.stderr)
        self.assertEqual(self.listing(), [])
        self.assertNotEqual(self.instance.command("super", "-d", "ALL", "nosuchqueue", check=False).returncode, 0)
        self.assertIn("Deleted: 0 messages", self.instance.command("super", "-d", "0123456789").stderr)

    def test_cat(self):
        small, large = self.deferred(1)[0], None
        large = self.queue_id(self.submit(MAIL % (7, 7) + b"0123456789\r\n" * 20000))
        wait_until(lambda: len(self.queue("deferred")) == 2, 10, "both deferred")
        for each, number in ((small, 0), (large, 7)):
            whole = self.instance.command("cat", "-q", each).stdout
            self.assertIn("sender: %s\n" % ("s0@sender.example" if number == 0 else "a@sender.example"), whole)
            self.assertIn("recipient: b@dest.example\n", whole)
            self.assertIn("Subject: number %d\n\nbody of %d\n" % (number, number), whole)
            headers = self.instance.command("cat", "-h", "-q", each).stdout
            self.assertIn("Subject: number %d\n" % number, headers)
            self.assertNotIn("body of", headers)
            body = self.instance.command("cat", "-b", "-q", each).stdout
            self.assertTrue(body.startswith("\nbody of %d\n" % number), body[:100])  # from the first line that is no header on
            self.assertNotIn("Subject:", body)
        self.assertEqual(self.instance.command("cat", "-b", "-q", large).stdout, "\nbody of 7\n" + "0123456789\n" * 20000)
        self.assertNotEqual(self.instance.command("cat", "-q", "NOSUCHID00", check=False).returncode, 0)

    def test_while_stopped(self):
        ids = self.deferred(5)
        self.instance.command("super", "-h", ids[0])
        before = self.listing()
        self.instance.stop()
        try:
            done = self.instance.command("queue", "-j")
            self.assertIn("Mail system is down", done.stderr)
            key = lambda entry: entry["queue_id"]  # noqa: E731
            self.assertEqual(sorted(self.listing(), key=key), sorted(before, key=key))
            self.assertIn(ids[1], self.instance.command("queue", "-p").stdout)
            flush = self.instance.command("queue", "-f", check=False)
            self.assertEqual((flush.returncode, "mail system is down" in flush.stderr), (69, True))
            self.assertIn("Subject: number 1\n", self.instance.command("cat", "-q", ids[1]).stdout)
            self.assertIn("Deleted: 1 message\n", self.instance.command("super", "-d", ids[1]).stderr)
            self.instance.command("super", "-h", ids[2])
            self.instance.command("super", "-H", ids[0])
            self.instance.command("super", "-r", ids[3])
            self.assertEqual(self.queue("hold"), [ids[2]])
        finally:
            self.next.replies.clear()
            self.instance.start()
        # Requeued mail is new mail; the others wait for their time or a flush.
        wait_until(lambda: any(b"number 3" in m.content for m in self.next.messages), 10, "the requeued one")
        self.instance.command("queue", "-f")
        self.next.wait(3)
        wait_until(lambda: self.listing() and self.queue("hold") == [ids[2]] and len(self.listing()) == 1, 5, "one on hold")
        subjects = sorted(re.search(rb"number (\d)", m.content).group(1) for m in self.next.messages)
        self.assertEqual(subjects, [b"0", b"3", b"4"])

    def test_salvage(self):
        """A message whose content is damaged on disk is left out; all others are saved under their ids."""
        ids = self.deferred(20) + self.deferred_more(40000)
        self.assertIn("the mail system is running", self.instance.command("super", "-s").stderr)
        self.instance.stop()
        try:
            self.assertIn("all messages are readable: 21 messages", self.instance.command("super", "-s").stderr)
            database = os.path.join(self.instance.queue, "store", "queue.mdb")
            with open(database, "r+b") as file:
                data = file.read()
                places = [match.start() for match in re.finditer(b"body of 7\r\n", data)]
                self.assertTrue(places)
                for place in places:
                    file.seek(place)
                    file.write(b"BODY")
            done = self.instance.command("super", "-s", check=False)
            self.assertEqual(done.returncode, 1, done.stderr)
            self.assertIn("lost: " + ids[7], done.stderr)
            self.assertIn("Saved: 20 messages", done.stderr)
            self.assertTrue([name for name in os.listdir(self.instance.queue) if name.startswith("store.damaged.")])
        finally:
            self.instance.start()
        self.assertEqual(self.queue("deferred"), sorted(ids[:7] + ids[8:]))
        self.next.replies.clear()
        self.instance.command("flush")
        self.next.wait(20)

    def deferred_more(self, size):
        """One more message, of that size."""
        one = self.queue_id(self.submit(MAIL % (99, 99) + b"x" * 76 + b"\r\n" + b"y" * size + b"\r\n"))
        wait_until(lambda: one in self.queue("deferred"), 15, "deferred")
        return [one]

    def test_links_with_postfix_names(self):
        ids = self.deferred(1)
        for name, arguments, expected in (("mailq", [], ids[0]), ("postqueue", ["-p"], ids[0]), ("postcat", ["-q", ids[0]], "number 0"),
                                          ("postsuper", ["-d", ids[0]], "Deleted: 1 message"), ("postqueue", ["-p"], "is empty"),
                                          ("postconf", ["myhostname"], "myhostname = mx.mill.example"),
                                          ("postfix", ["status"], "is running")):
            link = os.path.join(self.work, name)
            if not os.path.exists(link):
                os.symlink(case.BINARY, link)
            environment = dict(os.environ, MAIL_CONFIG=self.instance.conf)
            done = self.run_tool(link, *(["-c", self.instance.conf] if name not in ("mailq",) else []), *arguments, env=environment)
            self.assertIn(expected, (done.stdout + done.stderr).decode(), name)

    def test_many(self):
        count = 300
        client = self.client()
        for number in range(count):
            client.message(MAIL % (number, number), helo="c" if number == 0 else "")
        wait_until(lambda: len(self.queue("deferred")) == count, 40, "all deferred")
        self.assertEqual(self.instance.command("queue", "-p").stdout.splitlines()[-1].split(" in ")[1], "300 Requests.")
        self.next.replies.clear()
        self.instance.command("queue", "-f")
        self.next.wait(count, 40)
        wait_until(lambda: not self.listing(), 10, "an empty queue")


if __name__ == "__main__":
    case.main()
