#!/usr/bin/python3
"""Milters that die, hang and babble at every stage; breaker, pool, limits, classes; and the tools that look at them."""
import json
import os
import random
import socket
import sys
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from hostile import anonymous_kib  # noqa: E402
from instance import free_port, wait_until  # noqa: E402
from milter_peer import CONTINUE, MilterPeer, packet  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: s\r\nMessage-Id: <1@sender.example>\r\n" \
       b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n\r\nbody\r\n"
STAGES = b"CHMRTLNBE"


class Broken(case.Case):
    """Each stage, each way to fail: the configured action each time, and no half-edited mail."""
    TEMPLATE = """smtpd_milters = { %(service)s, default_action=%(action)s }
milter_command_timeout = 1s
milter_content_timeout = 1s
"""
    ACTION = "tempfail"

    @classmethod
    def prepare(cls):
        cls.how = {}

        def answer(event, data, number):
            way = cls.how.get(event)
            if way == "die":
                return None
            if way == "hang":
                time.sleep(1.5)
                return None
            if way == "garble":
                return b"\xff\xff\xff\xffxxxx"
            if event == b"E":
                return packet(b"h", b"X-Half\0done\0") + CONTINUE
            return CONTINUE
        cls.peer = MilterPeer(cls.work, answer)
        cls.MAIN = cls.TEMPLATE % {"service": cls.peer.service, "action": cls.ACTION}

    def test_every_stage(self):
        for stage in STAGES:
            for way in ("die", "garble") + (("hang",) if stage in b"ME" else ()):
                with self.subTest(stage=chr(stage), way=way):
                    self.how.clear()
                    self.next.clear()
                    self.how[bytes([stage])] = way
                    said = self.submit(MAIL)
                    if self.ACTION == "accept":
                        self.assertIn("queued as", said)
                        self.assertNotIn(b"X-Half", self.next.wait(1)[0].content)
                    else:
                        self.assertIn("451 4.7.1", said)
                        self.assertEqual(self.next.messages, [])
        self.how.clear()
        self.next.clear()
        self.assertIn("queued as", self.submit(MAIL))
        self.assertIn(b"X-Half: done", self.next.wait(1)[0].content)


class BrokenAccept(Broken):
    ACTION = "accept"


class Load(case.Case):
    """Eight clients at once while the filter dies, hangs, babbles and is gone, at any stage: each message is refused or taken
    as configured, what is taken arrives once, with all of the filter's edits or none."""
    ACTION = "tempfail"
    EDITS = packet(b"h", b"X-Half\0one\0") + packet(b"b", b"replaced\n"), packet(b"h", b"X-Half\0two\0") + CONTINUE

    @classmethod
    def prepare(cls):
        cls.trouble = random.Random(7)

        def answer(event, data, number):
            dice = cls.trouble.random()
            good = b"".join(cls.EDITS) if event == b"E" else CONTINUE
            if dice < 0.02:
                return None
            if dice < 0.04:
                return (cls.EDITS[0] if event == b"E" else b"") + b"\xff\xff\xff\xffxxxx"
            if dice < 0.05:
                return packet(b"h", b"X-Half\0stray\0") if event != b"E" else cls.EDITS[0] + packet(b"h", b"X-Half")
            if dice < 0.055:
                time.sleep(1.5)
                return None
            return good
        cls.peer = MilterPeer(cls.work, answer)
        cls.MAIN = Broken.TEMPLATE % {"service": cls.peer.service, "action": cls.ACTION}

    def test_load(self):
        taken, refused = [], []

        def client(name):
            for n in range(25):
                mark = "%d-%d" % (name, n)
                said = self.submit(MAIL.replace(b"Subject: s", b"Subject: " + mark.encode()))
                if said.startswith("250 2.0.0"):
                    taken.append(mark)
                else:
                    refused.append(said)
                if mark == "0-12":      # the filter is gone for a while
                    self.peer.down()
                    time.sleep(0.3)
                    self.peer.up()
        threads = [threading.Thread(target=client, args=(name,)) for name in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        wait_until(lambda: len(self.next.messages) >= len(taken), 60, "what was taken to arrive")
        arrived = []
        edited = 0
        for message in self.next.messages:
            arrived.append(next(h for h in message.headers() if h.startswith(b"Subject: "))[9:].decode())
            marks = [h for h in message.headers() if h.startswith(b"X-Half")]
            self.assertIn((marks, message.body()), (([b"X-Half: one", b"X-Half: two"], b"replaced\r\n"), ([], b"body\r\n")))
            edited += bool(marks)
        self.assertEqual(sorted(arrived), sorted(taken))
        self.assertGreater(edited, 50)
        if self.ACTION == "accept":
            self.assertEqual(refused, [])
            self.assertGreater(len(arrived), edited)
        else:
            self.assertEqual(set(refused), {"451 4.7.1 Service unavailable - try again later"})
            self.assertEqual(len(arrived), edited)
        self.assertNotRegex(self.instance.log_text(), "killed by|crash|assert|panic")


class LoadAccept(Load):
    ACTION = "accept"


class Replaced(case.Case):
    """Three filters in a row each put 50 MB in the place of a body: next to nothing of it is ever in memory."""
    MAIN = "smtpd_milters = %(services)s\nmessage_size_limit = 100000000\n"
    LINES = b"".join(b"%062d\r\n" % n for n in range(1000))

    @classmethod
    def prepare(cls):
        pieces = packet(b"b", cls.LINES) * 782

        def answer(event, data, number):
            return pieces + CONTINUE if event == b"E" else CONTINUE
        cls.peers = [MilterPeer(cls.work, answer, name="m%d" % n, protocol=0x10) for n in range(3)]
        cls.MAIN = cls.MAIN % {"services": ", ".join(peer.service for peer in cls.peers)}

    def test_memory(self):
        self.assertIn("queued as", self.client(seconds=120).message(MAIL))   # what is made once is there
        self.next.wait(1, 120)
        self.next.clear()
        pid, peak, done = self.instance.process.pid, [0], threading.Event()
        base = anonymous_kib(pid)

        def watch():
            while not done.is_set():
                peak[0] = max(peak[0], anonymous_kib(pid))
                time.sleep(0.005)
        watcher = threading.Thread(target=watch)
        watcher.start()
        try:
            self.assertIn("queued as", self.client(seconds=120).message(MAIL))
            body = self.next.wait(1, 120)[0].body()
        finally:
            done.set()
            watcher.join()
        self.assertEqual(len(body), 782 * len(self.LINES))
        self.assertTrue(body.startswith(self.LINES) and body.endswith(self.LINES))
        self.assertLess(peak[0] - base, 4096, "KiB of RssAnon")


class Pooled(case.Case):
    """pool=yes: a connection goes to the next SMTP session, and the filter is told so."""
    MAIN = "smtpd_milters = { %(service)s, pool=yes, pool_idle=100s }\n"

    @classmethod
    def prepare(cls):
        cls.peer = MilterPeer(cls.work)
        cls.MAIN = cls.MAIN % {"service": cls.peer.service}

    def test_pool(self):
        sessions = 3 * os.cpu_count()   # each front has connections of its own
        for _ in range(sessions):
            self.assertIn("queued as", self.submit(MAIL))
        self.next.wait(sessions)
        self.assertGreaterEqual(len(self.peer.seen(b"C")), sessions)
        self.assertGreaterEqual(len(self.peer.seen(b"K")), sessions - os.cpu_count())
        self.assertEqual(len(self.peer.seen(b"O")), self.peer.connections)
        self.assertLessEqual(self.peer.connections, os.cpu_count())


class Policy(case.Case):
    """A policy service has a breaker, answers by class of traffic, and counters, too."""
    MAIN = """smtpd_recipient_restrictions = check_policy_service { inet:127.0.0.1:%(port)d, try_limit=1, breaker=2/60s,
  default_action=DUNNO, { default_action_null_sender=450 4.3.9 not now } }, permit_mynetworks, reject
metrics_listen = unix:%(socket)s
"""

    @classmethod
    def prepare(cls):
        cls.socket = os.path.join(cls.work, "metrics")
        cls.MAIN = (cls.MAIN % {"port": free_port(), "socket": cls.socket}).replace("\n  ", " ")

    def test_policy(self):
        for _ in range(3):
            self.assertIn("queued as", self.submit(MAIL))
        self.wait_log("policy service .*: circuit breaker opened")
        self.assertIn("450 4.3.9", self.submit(MAIL, sender="<>"))
        self.assertRegex(self.instance.command("status").stdout, r"filter policy:\S+: calls=\d+ failures=\d+.*BREAKER OPEN")
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(self.socket)
            sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            said = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        self.assertIn('millrace_filter_failures_total{filter="policy:127.0.0.1:', said)


class Promises(case.Case):
    MAIN = """smtpd_milters = { %(service)s, max_connections=2, breaker=2/1s, default_action=accept, default_action_null_sender=reject, connect_timeout=3s }
metrics_listen = 127.0.0.1:%(port)d
milter_command_timeout = 2s
"""

    @classmethod
    def prepare(cls):
        cls.metrics = free_port()
        cls.slow = threading.Event()

        def answer(event, data, number):
            if event == b"E":
                if cls.slow.is_set():
                    time.sleep(0.1)
                return packet(b"h", b"X-Mark\0" + str(number).encode() + b"\0") + CONTINUE
            return CONTINUE
        cls.peer = MilterPeer(cls.work, answer)
        cls.MAIN = cls.MAIN % {"service": cls.peer.service, "port": cls.metrics}

    def test_1_limit_holds_over_all_processes(self):
        self.slow.set()
        threads = [threading.Thread(target=self.submit, args=(MAIL,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.slow.clear()
        self.assertLessEqual(self.peer.most_open, 2)
        self.next.wait(8)

    def test_2_explain_status_metrics(self):
        said = self.submit(MAIL)
        id = said.split("queued as ")[1].strip()
        self.wait_log(r"filter=milter:.*action=continue|filter=milter:.*edits: add header X-Mark")
        wait_until(lambda: "X-Mark" in self.instance.command("explain", id, check=False).stdout, 10, "the trace")
        trace = json.loads(self.instance.command("explain", "--sender", "a@sender.example", "--since", "10m", "--json").stdout)["trace"]
        self.assertTrue(any(line.get("queue_id") == id for line in trace))
        self.assertEqual(self.instance.command("explain", "--client", "192.0.2.99", check=False).returncode, 1)
        self.assertRegex(self.instance.command("status").stdout, r"filter milter:\S+: calls=\d+ failures=0")
        text = urllib.request.urlopen("http://127.0.0.1:%d/metrics" % self.metrics, timeout=5).read().decode()
        self.assertIn('millrace_filter_latency_seconds_bucket{filter="milter:%s"' % self.peer.service, text)
        self.assertIn("# TYPE millrace_filter_calls_total counter", text)

    def test_3_breaker_opens_and_heals(self):
        self.peer.down()
        for _ in range(2):
            self.assertIn("queued as", self.submit(MAIL))
        self.wait_log("circuit breaker opened")
        self.assertIn("BREAKER OPEN", self.instance.command("status").stdout)
        self.assertIn("550 5.5.0", self.submit(MAIL, sender="<>"))
        self.peer.up()
        time.sleep(1.1)
        wait_until(lambda: "queued as" in self.submit(MAIL) and "BREAKER" not in self.instance.command("status").stdout, 10, "the breaker to close")


class Passed(case.Case):
    """PASS and REDIRECT in header_checks spare a message the milters' look at its content; BCC does not."""
    MAIN = "smtpd_milters = %(service)s\nheader_checks = pcre:{{/^Subject: pass/ PASS}, {/^Subject: copy/ BCC c@dest.example}}\n"

    @classmethod
    def prepare(cls):
        cls.peer = MilterPeer(cls.work, lambda event, data, number: packet(b"h", b"X-Seen\0yes\0") + CONTINUE if event == b"E" else CONTINUE)
        cls.MAIN = cls.MAIN % {"service": cls.peer.service}

    def test_pass(self):
        for subject, seen in ((b"pass", False), (b"copy", True)):
            self.next.clear()
            self.assertIn("queued as", self.submit(MAIL.replace(b"Subject: s", b"Subject: " + subject)))
            self.assertEqual(b"X-Seen" in self.next.wait(1)[0].content, seen)


class Tools(case.Case):
    MAIN = "smtpd_milters = %(service)s\n"

    @classmethod
    def prepare(cls):
        def answer(event, data, number):
            if event == b"E":
                return packet(b"i", b"\0\0\0\0X-Top\0yes\0") + packet(b"b", b"new body\n") + CONTINUE
            if event == b"R" and b"bad@" in data:
                return packet(b"y", b"550 5.7.1 not him\0")
            return CONTINUE
        cls.peer = MilterPeer(cls.work, answer)
        cls.MAIN = cls.MAIN % {"service": cls.peer.service}

    def run_it(self, *command):
        return self.instance.command(*command, check=False)

    def test_try(self):
        path = os.path.join(self.work, "mail.eml")
        with open(path, "wb") as out:
            out.write(MAIL)
        done = self.run_it("try", path, "-f", "a@sender.example", "-r", "b@dest.example", "-r", "bad@dest.example",
                           "--client", "127.0.0.1,localhost", "--helo", "h", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        said = json.loads(done.stdout)
        self.assertEqual(said["verdict"]["action"], "continue")
        self.assertIn("+X-Top: yes", said["diff"])
        self.assertEqual([r["verdict"].get("code") for r in said["recipients"]], [None, 550])
        self.assertTrue(any(line["filter"].startswith("milter:") for line in said["trace"]))
        self.assertIn("changes:", self.run_it("try", path, "-f", "a@sender.example", "-r", "b@dest.example").stdout)
        self.assertEqual(self.run_it("try", path).returncode, 2)

    def test_probe(self):
        done = self.run_it("probe", self.peer.service)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("a milter, protocol version 6", done.stdout)
        self.assertIn("insert header, replace body, continue", done.stdout)
        self.assertEqual(json.loads(self.run_it("probe", self.peer.service, "--json").stdout)["version"], 6)
        self.assertEqual(self.run_it("probe", "inet:127.0.0.1:%d" % free_port()).returncode, 1)

    def test_doctor(self):
        well = self.run_it("doctor")
        self.assertIn("looked at", well.stdout)
        self.assertEqual(well.returncode, 0, well.stdout)
        os.chmod(self.peer.path, 0o600)
        try:
            if os.geteuid() == 0:
                ill = self.run_it("doctor")
                self.assertEqual(ill.returncode, 1)
                self.assertIn("may not write to", ill.stdout)
        finally:
            os.chmod(self.peer.path, 0o777)


if __name__ == "__main__":
    case.main()
