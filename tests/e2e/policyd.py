#!/usr/bin/python3
"""The SPF policy daemon over its sockets: the RFC 7208 suite, many connections, clients that misbehave, reload, drain."""
import json
import os
import resource
import socket
import subprocess
import sys
import threading
import time
import unittest

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import case  # noqa: E402
from instance import free_port, wait_until  # noqa: E402
from policyd import Asker, Policyd  # noqa: E402

ZONE = {
    "pass.example": [{"TXT": "v=spf1 ip4:192.0.2.0/24 -all"}],
    "fail.example": [{"TXT": "v=spf1 -all"}],
    "slow.example": ["TIMEOUT"],
}
PASS = ("PREPEND Received-SPF: Pass (mailfrom) identity=mailfrom; client-ip=192.0.2.1; helo=mail.example; "
        "envelope-from=a@pass.example; receiver=rcpt.example ")


class Daemon(unittest.TestCase):
    def serve(self, zone=None, **options):
        policyd = Policyd(case.BINARY, ZONE if zone is None else zone, **options)
        self.addCleanup(lambda: policyd.stop() if policyd.process is None or policyd.process.poll() is None else None)
        return policyd

    def test_rfc7208_suite(self):
        with open(ROOT + "/tests/unit/spf/rfc7208-tests.json", encoding="utf-8") as file:
            suite = json.load(file)
        usual = "{ Reason_Message = {spf} } skip_addresses=0.0.0.0/32"
        cases = 0
        for scenario in suite:
            mail = Policyd(case.BINARY, scenario["zonedata"], keys="HELO_reject=No_Check " + usual)
            helo = Policyd(case.BINARY, scenario["zonedata"], keys="HELO_reject=Fail " + usual)
            ask_mail, ask_helo = mail.asker(), helo.asker()
            for name, test in scenario["tests"].items():
                with self.subTest(scenario=scenario["description"], test=name):
                    asker = ask_mail if test["mailfrom"] else ask_helo
                    action = asker.ask(client=test["host"], helo=test["helo"], sender=test["mailfrom"])
                    expected = test["result"] if isinstance(test["result"], list) else [test["result"]]
                    if action.startswith("550 5.7.23 "):
                        result = "fail"
                        if test.get("explanation"):
                            told = action[len("550 5.7.23 "):]
                            self.assertEqual("DEFAULT" if told == "SPF fail - not authorized" else told, test["explanation"])
                    else:
                        self.assertTrue(action.startswith("PREPEND Received-SPF: "), action)
                        result = action.split()[2].lower()
                    self.assertIn(result, expected)
                cases += 1
            for one in (ask_mail, ask_helo):
                one.close()
            for one in (mail, helo):
                self.assertEqual(one.stop(), 0)
        self.assertEqual(cases, 203)

    def test_answers_and_instances(self):
        port = free_port()
        policyd = self.serve(config="# as on a Postfix site\nTempError_Defer = True\n", sockets=[])
        policyd.start(["unix:" + policyd.socket, "inet:127.0.0.1:%d" % port])
        for asker in (policyd.asker(), Asker(("127.0.0.1", port))):
            first = "i%s" % id(asker)
            self.assertEqual(asker.ask(sender="a@pass.example", instance=first), PASS)
            self.assertEqual(asker.ask(sender="a@pass.example", recipient="c@other.example", instance=first), "DUNNO")
            for _ in range(2):
                self.assertTrue(asker.ask(sender="a@fail.example", instance=first + "x").startswith("550 5.7.23 Message rejected due to: "))
            self.assertTrue(asker.ask(sender="a@slow.example").startswith("defer_if_permit 4.7.24 Message deferred due to: SPF Temporary"))
            self.assertTrue(asker.ask(client="127.0.0.1").startswith("PREPEND X-Comment: SPF check N/A for local connections"))
            self.assertEqual(asker.ask(client="", sender="a@pass.example"), "DUNNO")
            asker.close()
        wait_until(lambda: "a request without client_address" in policyd.log_text(), 5, "the warning")
        self.assertIn("plugin spf: identity=mailfrom; result=pass; client-ip=192.0.2.1", policyd.log_text())

    def test_clients_that_misbehave_disturb_nobody(self):
        policyd = self.serve()
        good = policyd.asker()
        for garbage in (b"GET / HTTP/1.1\r\n\r\n", b"\n", b"request=junk\n\n", b"x" * 70000, b"\0" * 20000, b"a=b\0\n\n", b"a=b\n" * 300,
                        b"".join(b"n%d=%s\n" % (i, b"v" * 8000) for i in range(20))):
            bad = policyd.asker(10)
            try:
                bad.send(garbage)
                self.assertIsNone(bad.answer(), garbage[:40])
            except (BrokenPipeError, ConnectionResetError):
                pass
            bad.close()
            self.assertEqual(good.ask(sender="a@pass.example"), PASS)
        wait_until(lambda: "policy request refused: not name=value" in policyd.log_text(), 5, "the warning")
        half = policyd.asker()
        half.send(b"request=smtpd_acc")
        self.assertEqual(good.ask(sender="a@pass.example"), PASS)
        half.close()
        pieces = policyd.asker()
        for byte in b"request=smtpd_access_policy\nclient_address=127.0.0.1\n\n":
            pieces.send(bytes([byte]))
        self.assertTrue(pieces.answer().startswith("PREPEND X-Comment"))

    def test_per_user(self):
        policyd = self.serve(sockets=[])
        users = policyd.work + "/users"
        with open(users, "w", encoding="ascii") as file:
            file.write("lax@rcpt.example,Mail_From_reject=False\nStrict@rcpt.example,Mail_From_reject=SPF_Not_Pass\n")
        policyd.config = policyd.work + "/per-user.conf"
        policyd.configure("Per_User = text,%s\n" % users)
        policyd.arguments += ["--config", policyd.config]
        policyd.start(["unix:" + policyd.socket])
        asker = policyd.asker()
        fail = {"sender": "a@fail.example", "instance": "one"}
        self.assertTrue(asker.ask(recipient="b@rcpt.example", **fail).startswith("550 5.7.23 "))
        self.assertTrue(asker.ask(recipient="lax@rcpt.example", **fail).startswith(("PREPEND Received-SPF: Fail", "DUNNO")))
        self.assertEqual(asker.ask(recipient="LAX@rcpt.example", **fail), "DUNNO")   # one header a message
        self.assertTrue(asker.ask(recipient="strict@rcpt.example", **fail).startswith("550 5.7.23 "))
        with open(users, "w", encoding="ascii") as file:
            file.write("lax@rcpt.example,Nonsense=False\n")
        policyd.hang_up()
        wait_until(lambda: "line 1: unknown key \"Nonsense\"" in policyd.log_text(), 5, "the refusal")

    def test_a_crowd_keeps_nobody_waiting(self):
        """10,000 idle connections, garbage, lines without an end, and questions that a dead resolver does not answer."""
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if hard < 12_000 and os.geteuid() != 0:
            self.skipTest("may not have 12,000 files open")
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(hard, 12_000), max(hard, 12_000)))
        self.addCleanup(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, max(hard, 12_000)))
        policyd = self.serve(keys="Lookup_Time=20", silent=True)
        crowd = []
        self.addCleanup(lambda: [one.close() for one in crowd])
        for _ in range(10_000):
            crowd.append(policyd.asker())
        waiting = [policyd.asker() for _ in range(200)]
        crowd += waiting
        for number, one in enumerate(waiting):
            one.send(b"request=smtpd_access_policy\nclient_address=192.0.2.1\nhelo_name=\nsender=a@x%d.example\n\n" % number)
        stop = threading.Event()

        def pester(bytes_sent):
            while not stop.is_set():
                try:
                    bad = policyd.asker(10)
                    while not stop.is_set():
                        bad.send(bytes_sent)
                except OSError:
                    pass
                finally:
                    bad.close()
        threads = [threading.Thread(target=pester, args=(what,)) for what in (b"x" * 4096, b"GET / HTTP/1.1\r\n\r\n", b"a=b\n" * 1000, b"\0\n")]
        for thread in threads:
            thread.start()
        try:
            slowest, good = 0, policyd.asker()
            for number in range(300):
                start = time.monotonic()
                if number % 30 == 0:
                    good.close()
                    good = policyd.asker()   # new ones are served as well
                self.assertTrue(good.ask(client="127.0.0.1").startswith("PREPEND X-Comment"))
                slowest = max(slowest, time.monotonic() - start)
            self.assertTrue(crowd[5000].ask(client="127.0.0.1").startswith("PREPEND X-Comment"))
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        good.close()
        print("slowest answer of 300 beside 10,200 connections: %.0f ms" % (slowest * 1000))
        self.assertLess(slowest, 2)

    def test_dead_resolver(self):
        policyd = self.serve(keys="Lookup_Time=2 TempError_Defer=yes", silent=True)
        waiting = policyd.asker()
        waiting.send(b"request=smtpd_access_policy\nclient_address=192.0.2.1\nhelo_name=\nsender=a@x.example\n\n")
        start = time.monotonic()
        other = policyd.asker()
        self.assertTrue(other.ask(client="127.0.0.1").startswith("PREPEND X-Comment"))
        self.assertLess(time.monotonic() - start, 1.5)
        self.assertTrue(waiting.answer().startswith("defer_if_permit 4.7.24 "))
        self.assertLess(time.monotonic() - start, 8)

    def test_reload(self):
        policyd = self.serve(config="")
        asker = policyd.asker()
        self.assertTrue(asker.ask(sender="a@fail.example").startswith("550 "))
        policyd.configure("Mail_From_reject = False\n")
        policyd.hang_up()
        wait_until(lambda: "reloaded" in policyd.log_text(), 5, "the reload")
        self.assertTrue(asker.ask(sender="a@fail.example").startswith("PREPEND Received-SPF: Fail"))
        policyd.configure("Mail_From_reject = Perhaps\n")
        policyd.hang_up()
        wait_until(lambda: "reload refused" in policyd.log_text(), 5, "the refusal")
        self.assertIn("Mail_From_reject: \"Perhaps\" makes no sense", policyd.log_text())
        self.assertTrue(asker.ask(sender="a@fail.example").startswith("PREPEND Received-SPF: Fail"))

    def test_drain(self):
        policyd = self.serve(keys="Lookup_Time=2", silent=True)
        idle, asking = policyd.asker(), policyd.asker()
        asking.send(b"request=smtpd_access_policy\nclient_address=192.0.2.1\nhelo_name=\nsender=a@x.example\n\n")
        time.sleep(0.2)
        start = time.monotonic()
        policyd.process.terminate()
        self.assertIsNone(idle.answer())
        self.assertIn("Received-SPF: Temperror", asking.answer())
        self.assertEqual(policyd.process.wait(10), 0)
        self.assertLess(time.monotonic() - start, 5)

    def test_standard_input(self):
        policyd = self.serve(sockets=[])
        request = b"request=smtpd_access_policy\nclient_address=127.0.0.1\n\n"
        done = subprocess.run(policyd.arguments + [policyd.filter], input=request * 3, stdout=subprocess.PIPE, timeout=20, check=True)
        self.assertEqual(done.stdout.count(b"action=PREPEND X-Comment"), 3)
        ours, theirs = socket.socketpair()
        child = subprocess.Popen(policyd.arguments + [policyd.filter], stdin=theirs, stdout=theirs, stderr=theirs)
        theirs.close()
        for _ in range(2):
            ours.sendall(request)
            self.assertTrue(ours.recv(4096).startswith(b"action=PREPEND X-Comment"))
        ours.close()
        self.assertEqual(child.wait(10), 0)

    @unittest.skipUnless(os.path.exists("/usr/bin/systemd-socket-activate"), "no systemd-socket-activate")
    def test_socket_activation(self):
        policyd = self.serve(sockets=[])
        starter = subprocess.Popen(["/usr/bin/systemd-socket-activate", "-l", policyd.socket] + policyd.arguments + [policyd.filter],
                                   stderr=policyd.log)
        self.addCleanup(starter.wait)
        self.addCleanup(starter.terminate)
        wait_until(lambda: os.path.exists(policyd.socket), 10, "the socket")
        asker = policyd.asker()
        self.assertEqual(asker.ask(sender="a@pass.example"), PASS)
        asker.close()

    def test_what_does_not_work_is_refused_at_start(self):
        policyd = self.serve(sockets=[])
        for words, expected in (((), "usage:"), (("plugin:none",), "none.so"), (("{ plugin:spf x=y }",), "unknown key \"x\""),
                                (("--socket", "nonsense", "plugin:spf"), "expected unix:PATH"),
                                (("--mode", "999", "plugin:spf"), "usage:"),
                                (("--config", policyd.work + "/absent", "plugin:spf"), "No such file")):
            done = subprocess.run(policyd.arguments + list(words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                  stderr=subprocess.PIPE, text=True, timeout=20, check=False)
            self.assertNotEqual(done.returncode, 0, words)
            self.assertIn(expected, done.stderr)


if __name__ == "__main__":
    case.main()
