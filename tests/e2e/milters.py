#!/usr/bin/python3
"""Milters that die, hang and babble at every stage; breaker, pool, limits, classes; and the tools that look at them."""
import json
import os
import sys
import threading
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
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
