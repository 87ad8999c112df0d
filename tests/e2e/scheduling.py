#!/usr/bin/python3
"""The queue manager against next hops that set limits: concurrency, order, pauses, flush, freeze, traces.

    scheduling.py --millrace BIN [unittest options]
"""
import os
import re
import signal
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402
from next_hop import NextHop  # noqa: E402

CONTENT = b"Subject: test\r\n\r\nbody\r\n"


class Limited(NextHop):
    """Takes at most `limit` connections at once, the others get 421; counts both."""

    def __init__(self, limit, **more):
        self.limit, self.most, self.seen = limit, 0, []
        super().__init__(**more)
        self.replies["connect"] = self.greet

    def greet(self, _):
        now = len(self.open)
        self.seen.append(now)
        if now > self.limit:
            return "421 4.7.0 too many connections\r\n"
        self.most = max(self.most, now)
        return None


class Scheduling(case.Case):
    MAIN = """transport_maps = texthash:%(work)s/transport
relay_domains = slow.example fast.example held.example paced.example trace.example list.example
fast_flush_domains = held.example
minimal_backoff_time = 1s
maximal_backoff_time = 2s
queue_run_delay = 1s
destination_concurrency_feedback_debug = yes
defer_transports = held
paced_destination_rate_delay = 1s
one_destination_concurrency_limit = 1
one_destination_recipient_limit = 2
smtpd_recipient_limit = 5000
debug_peer_list = 127.0.0.9
"""
    MASTER = """held unix - - n - - smtp
paced unix - - n - - smtp
one unix - - n - - smtp
trace unix - - n - - smtp -v
"""

    @classmethod
    def prepare(cls):
        cls.slow = Limited(3, delay=0.3)
        cls.other = NextHop()
        cls.addClassCleanup(cls.slow.down)
        cls.addClassCleanup(cls.other.down)
        hops = {"slow.example": "smtp:[127.0.0.1]:%d" % cls.slow.port, "fast.example": "smtp:[127.0.0.1]:%d" % cls.other.port,
                "held.example": "held:[127.0.0.1]:%d" % cls.other.port, "paced.example": "paced:[127.0.0.1]:%d" % cls.other.port,
                "list.example": "one:[127.0.0.1]:%d" % cls.slow.port, "trace.example": "trace:[127.0.0.1]:%d" % cls.other.port}
        with open(os.path.join(cls.work, "transport"), "w", encoding="utf-8") as out:
            out.write("".join("%s %s\n" % item for item in hops.items()))

    def setUp(self):
        super().setUp()
        self.other.clear()
        self.slow.clear()

    def send(self, *recipients, sender="<a@sender.example>"):
        return self.queue_id(self.submit(CONTENT, sender=sender, recipients=["<%s>" % r for r in recipients]))

    def test_concurrency_follows_the_next_hop(self):
        begin = time.monotonic()
        for number in range(40):
            self.send("u%d@slow.example" % number)
        # The other destination keeps its speed.
        for number in range(20):
            self.send("u%d@fast.example" % number)
        self.other.wait(20, 5)
        self.assertLess(time.monotonic() - begin, 5)
        self.slow.wait(40, 40)
        self.assertEqual(self.slow.most, 3)
        windows = [int(w) for w in re.findall(r"queue smtp/\[127\.0\.0\.1\]:%d: limit 20 window (\d+)" % self.slow.port,
                                              self.instance.log_text())]
        # It settles at 2 to 4 and looks at 5 now and then, as Postfix's does; at the end, when little waits, it grows.
        settled = windows[:-18]
        self.assertGreater(len(settled), 20, windows)
        self.assertGreaterEqual(sum(2 <= window <= 4 for window in settled) / len(settled), 0.65, windows)
        self.assertLessEqual(max(settled), 6, windows)
        self.assertGreaterEqual(min(settled), 2, windows)   # 0: the destination was given up
        # As seen from there: how many are open when one comes.
        self.assertLessEqual(max(self.slow.seen), 7, self.slow.seen)

    def test_a_small_message_overtakes_a_list(self):
        big = self.send(*["u%d@list.example" % n for n in range(200)])     # 100 deliveries of 0.3 s, one at a time
        self.wait_log(big + r": to=<u")
        begin = time.monotonic()
        self.send("single@list.example")
        wait_until(lambda: any("single@" in m.recipients[0] for m in self.slow.messages), 5, "the single message")
        self.assertLess(time.monotonic() - begin, 2)
        self.assertLess(len(self.slow.messages), 30)
        self.instance.command("super", "-d", big)

    def test_deferred_transport_is_delivered_on_request(self):
        held = self.send("a@held.example")
        other = self.send("b@held.example")
        self.wait_log(held + r": .*relay=none, .*dsn=4\.3\.2, status=deferred \(4\.3\.2 deferred transport\)|" + held +
                      r": .*dsn=4\.3\.2, status=deferred \(deferred transport\)")
        self.assertEqual(self.other.messages, [])
        self.instance.command("queue", "-i", held)
        self.other.wait(1, 5)
        self.instance.command("queue", "-s", "held.example")
        self.other.wait(2, 5)
        self.wait_log(other + ": removed")
        refused = self.instance.command("queue", "-s", "paced.example", check=False)
        self.assertNotEqual(refused.returncode, 0)
        self.assertIn('Flush service is not configured for destination "paced.example"', refused.stderr)

    def test_pauses_between_deliveries(self):
        begin = time.monotonic()
        for number in range(3):
            self.send("u%d@paced.example" % number)
        self.other.wait(3, 10)
        self.assertGreater(time.monotonic() - begin, 1.9)

    def test_conversations_are_logged_on_request(self):
        self.send("a@trace.example")
        self.other.wait(1, 5)
        peer = r"postfix/smtp\[\d+\]: %s 127\.0\.0\.1\[127\.0\.0\.1\]:" + str(self.other.port) + ": "
        self.wait_log(peer % "<" + "220 next.hop ESMTP")
        self.wait_log(peer % ">" + "EHLO mx.mill.example")
        self.wait_log(peer % "<" + "250-PIPELINING")
        self.wait_log(peer % ">" + r"RCPT TO:<a@trace\.example>")
        self.wait_log(peer % "<" + "250 2.0.0 Ok: queued as NEXTHOP")
        self.assertNotRegex(self.instance.log_text(), r"smtpd\[\d+\]: [<>] ")


class Frozen(case.Case):
    MAIN = "master_service_disable = qmgr.fifo\ndebug_peer_list = 127.0.0.0/8\nsmtpd_soft_error_limit = 20\n"

    def test_debug_peer_level_1_is_the_conversation_alone(self):
        quiet = self.make("quiet", self.MAIN + "debug_peer_level = 1\n")
        quiet.start()
        self.addCleanup(quiet.stop)
        self.submit(CONTENT, instance=quiet)
        self.wait_log(r"> localhost\[127\.0\.0\.1\]: 221 ", instance=quiet)
        self.assertNotIn("permit_mynetworks: permit", quiet.log_text())

    def test_frozen_mail_waits_until_thawed(self):
        queued = self.queue_id(self.submit(CONTENT))
        self.wait_log(r"smtpd\[\d+\]: < localhost\[127\.0\.0\.1\]: EHLO client\.example")
        self.wait_log(r"smtpd\[\d+\]: > localhost\[127\.0\.0\.1\]: 354 End data")
        self.wait_log(r"smtpd\[\d+\]: b@dest\.example: permit_mynetworks: permit$")
        self.instance.command("queue", "-f")
        listed = self.instance.command("queue", "-p").stdout
        self.assertIn(queued, listed)
        self.assertNotIn(queued + "*", listed)
        self.assertEqual(self.next.messages, [])
        path = os.path.join(self.instance.conf, "main.cf")
        with open(path, encoding="utf-8") as conf:
            text = conf.read().replace("qmgr.fifo", "")
        self.instance.write("main.cf", text)
        os.kill(self.instance.process.pid, signal.SIGHUP)
        self.next.wait(1, 10)
        self.wait_log(queued + ": removed")

    def test_a_typing_error_is_refused(self):
        broken = self.make("broken", "master_service_disable = smtp/inett\n")
        done = broken.command("check", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("master_service_disable", done.stderr)


class Clogged(case.Case):
    MAIN = "qmgr_message_active_limit = 10\nqmgr_clog_warn_time = 60s\nin_flow_delay = 0\nrelay_destination_concurrency_limit = 1\n"

    def test_a_destination_that_fills_the_active_queue_is_named(self):
        self.next.delay = 1
        self.addCleanup(setattr, self.next, "delay", 0)
        for _ in range(6):
            self.submit(CONTENT)
        self.wait_log(r"qmgr\[\d+\]: warning: mail for \[127\.0\.0\.1\]:%d is using up \d+ of \d+ active queue entries" % self.next.port)
        self.wait_log(r"warning: you may need to increase the main\.cf relay_destination_concurrency_limit from 1")
        self.next.wait(6, 20)


if __name__ == "__main__":
    case.main()
