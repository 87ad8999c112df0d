#!/usr/bin/python3
"""Real filters in the chain: OpenDKIM signs and verifies, postgrey greylists, Lua classes answer; and none of them
can do harm by dying, hanging or talking nonsense."""
import os
import shutil
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port  # noqa: E402
from peers import OpenDkim, Postgrey  # noqa: E402

try:
    import dkim
except ImportError:
    dkim = None

MAIL = b"From: A <a@sender.example>\r\nTo: b@dest.example\r\nSubject: signed\r\n mail\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n" \
       b"Message-Id: <1@sender.example>\r\n\r\nHello,\r\n\r\n.\r\n..x\r\nthis is it.  \r\n\r\n\r\n"


@unittest.skipUnless(shutil.which("opendkim") and dkim, "no opendkim or no dkimpy")
class Dkim(case.Case):
    MAIN = """smtpd_milters = %(milter)s
milter_command_timeout = 4s
milter_connect_timeout = 4s
"""

    @classmethod
    def prepare(cls):
        cls.signer = OpenDkim(cls.work, "s")
        cls.addClassCleanup(lambda: cls.signer.end())
        cls.verifier = OpenDkim(cls.work, "v", socket_at="inet:%d@127.0.0.1" % free_port())
        cls.addClassCleanup(lambda: cls.verifier.end())
        cls.MAIN = cls.MAIN % {"milter": cls.signer.milter}

    def verifies(self, content):
        return dkim.verify(content, dnsfunc=lambda name, timeout=5: (
            self.signer.record.encode() if name.rstrip(b"." if isinstance(name, bytes) else ".") in (
                b"sel._domainkey.sender.example", "sel._domainkey.sender.example") else None))

    def test_signs_and_verifies(self):
        for name, content in {"plain": MAIL, "no body": MAIL.split(b"\r\n\r\n")[0] + b"\r\n\r\n",
                              "large": MAIL + b"0123456789 abcdef.\r\n.\r\n" * 100000,
                              "8-bit": MAIL + "Grüße\r\n".encode(), "binary": MAIL + bytes(range(128, 256)) + b"\r\n"}.items():
            with self.subTest(name):
                self.next.clear()
                self.assertIn("queued as", self.submit(content))
                got = self.next.wait(1)[0]
                names = [h.split(b":")[0] for h in got.headers()]
                self.assertEqual(names.count(b"DKIM-Signature"), 1)
                self.assertTrue(self.verifies(got.content), got.header_bytes())
                self.assertEqual(got.body(), content.split(b"\r\n\r\n", 1)[1])
                self.assertFalse(self.verifies(got.content.replace(b"Subject: signed", b"Subject: altered")))

    def test_added_headers_are_signed_as_they_leave(self):
        # From, Date and Message-Id are made here: the signer must see what leaves.
        self.assertIn("queued as", self.submit(b"Subject: bare\r\nFrom: a@sender.example\r\n\r\nx\r\n"))
        self.assertTrue(self.verifies(self.next.wait(1)[0].content))

    def test_several_messages_in_a_session(self):
        client = self.client()
        for _ in range(5):
            self.assertIn("queued as", client.message(MAIL))
        for message in self.next.wait(5):
            self.assertTrue(self.verifies(message.content))

    def test_verifier_adds_its_results(self):
        self.submit(MAIL)
        signed = self.next.wait(1)[0].content
        self.next.clear()
        other = self.make("verify", "smtpd_milters = %s\n" % self.verifier.milter)
        other.start()
        self.addCleanup(other.stop)
        for name, content, result in (("good", signed, b"dkim=pass"), ("bad", signed + b"more\r\n", b"dkim=fail"),
                                      ("none", MAIL, b"dkim=none")):
            with self.subTest(name):
                self.next.clear()
                self.assertIn("queued as", self.submit(content, other))
                got = self.next.wait(1)[0]
                results = [h for h in got.headers() if h.startswith(b"Authentication-Results: mx.mill.example;")]
                self.assertEqual(len(results), 1, got.header_bytes())
                self.assertIn(result, results[0])

    def test_dies_in_a_session(self):
        for action, expected in (("tempfail", "451 4.7.1"), ("accept", "250"), ("reject", "550 5.5.0")):
            with self.subTest(action):
                self.next.clear()
                signer = OpenDkim(self.work, "s", name="victim-" + action)
                self.addCleanup(signer.end)
                instance = self.make("victim-" + action, "smtpd_milters = %s\nmilter_default_action = %s\n" % (
                    signer.milter, action))
                instance.start()
                self.addCleanup(instance.stop)
                client = self.client(instance)
                client.say("EHLO client.example")
                signer.kill()
                reply = client.message(MAIL, helo="")
                self.assertTrue(reply.startswith(expected), reply)
                self.wait_log("warning: milter %s: " % signer.milter, instance=instance)
                # Gone at connect, too; and back again when it lives.
                reply = self.submit(MAIL, instance)
                self.assertTrue(reply.startswith(expected), reply)
                if action == "accept":
                    self.next.wait(2)
                os.unlink(signer.milter[5:])
                signer.start()
                self.assertIn("queued as", self.submit(MAIL, instance))

    def test_hangs(self):
        # A stopped process keeps its socket: only the time limit helps, and only for those who ask it.
        signer = OpenDkim(self.work, "s", name="stopped")
        self.addCleanup(signer.end)
        instance = self.make("stopped", "smtpd_milters = { %s, command_timeout=2s, connect_timeout=2s, default_action=tempfail }\n"
                             % signer.milter)
        instance.start()
        self.addCleanup(instance.stop)
        os.kill(signer.process.pid, 19)
        try:
            begin = time.monotonic()
            reply = self.submit(MAIL, instance)
            self.assertTrue(reply.startswith("451 4.7.1"), reply)
            self.assertLess(time.monotonic() - begin, 6)
            self.wait_log("warning: milter %s: " % signer.milter, instance=instance)
        finally:
            os.kill(signer.process.pid, 18)


@unittest.skipUnless(shutil.which("postgrey"), "no postgrey")
class Greylisting(case.Case):

    @classmethod
    def prepare(cls):
        cls.grey = cls.peer()
        cls.addClassCleanup(lambda: cls.grey.end())
        cls.MAIN = "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service %s\n" % cls.policy()

    @classmethod
    def peer(cls):
        return Postgrey(cls.work)

    @classmethod
    def policy(cls):
        return "inet:127.0.0.1:%d" % cls.grey.port

    def test_defers_then_passes(self):
        reply = self.submit(MAIL)
        self.assertRegex(reply, r"^450 4\.2\.0 <b@dest\.example>: Recipient address rejected: Greylisted", self.instance.log_text())
        self.wait_log(r"postfix/smtpd\[\d+\]: NOQUEUE: reject: RCPT from localhost\[127\.0\.0\.1\]: 450 4\.2\.0 .*Greylisted")
        # Another triplet is on its own, in the same session too.
        client = self.client()
        self.assertTrue(client.message(MAIL, sender="<x@sender.example>").startswith("450"))
        time.sleep(3)
        self.assertIn("queued as", self.submit(MAIL))
        got = self.next.wait(1)[0]
        self.assertTrue(any(h.startswith(b"X-Greylist: delayed ") for h in got.headers()), got.header_bytes())
        client.say("RSET")
        self.assertIn("queued as", client.message(MAIL, sender="<x@sender.example>", helo=""))

    def test_gone(self):
        # Not a permit: Postfix's answer for a policy service that cannot be asked.
        reply = self.submit(MAIL, sender="<first@sender.example>")
        self.assertTrue(reply.startswith("450"), reply)
        self.grey.end()
        try:
            reply = self.submit(MAIL, sender="<second@sender.example>")
            self.assertEqual(reply, "451 4.3.5 <b@dest.example>: Recipient address rejected: Server configuration problem")
            self.wait_log(r"warning: problem talking to server 127\.0\.0\.1:%d" % self.grey.port)
        finally:
            type(self).grey = Postgrey.__new__(Postgrey)
            self.grey.process = None
            self.grey.end = lambda: None


class GreylistingUnix(Greylisting):
    @classmethod
    def peer(cls):
        return Postgrey(cls.work, unix=os.path.join(cls.work, "postgrey.sock"))

    @classmethod
    def policy(cls):
        return "unix:" + cls.grey.unix

    def test_gone(self):
        self.skipTest("as with inet")


LUA = """-- line 1
function check(session)
  local sender = session.sender
  if sender == "reject@s.example" then return "reject", "5.7.1 not you" end
  if sender == "permit@s.example" then return "permit" end
  if sender == "ok@s.example" then return "OK" end
  if sender == "defer@s.example" then return "defer_if_permit", "4.7.1 later" end
  if sender == "dunno@s.example" then return "dunno" end
  if sender == "code@s.example" then return "553 5.7.9 own code" end
  if sender == "class@s.example" then return "second" end
  if sender == "nil@s.example" then
    return nil
  end
  if sender == "nothing@s.example" then return end
  if sender == "word@s.example" then return "nonsense" end
  if sender == "typo@s.example" then return "permitt" end
  if sender == "type@s.example" then return {} end
  if sender == "number@s.example" then return 42 end
  if sender == "true@s.example" then return true end
  if sender == "error@s.example" then error("on purpose") end
  if sender == "index@s.example" then return session.nothing.here end
  if sender == "throw@s.example" then error({}) end
  if sender == "loop@s.example" then while true do end end
  if sender == "pcall@s.example" then while true do pcall(function() while true do end end) end end
  if sender == "memory@s.example" then local t = {} while true do t[#t + 1] = ("x"):rep(100000) .. #t end end
  if sender == "rep@s.example" then return ("x"):rep(2000000000) end
  if sender == "find@s.example" then return ("a"):rep(30000):find(("a-"):rep(30000) .. "b") and "ok" or "dunno" end
  if sender == "stack@s.example" then local function f() return 1 + f() end return f() end
  if sender == "crlf@s.example" then return "reject", "5.7.1 a\\r\\n250 b" end
  if sender == "file@s.example" then return io and "permit" or os and os.execute and "permit" or "reject" end
  if sender == "long@s.example" then return "reject", "5.7.1 " .. ("y"):rep(100000) end
  return "dunno"
end
function second(session)
  return "reject", "5.7.8 from the second"
end
"""


class Lua(case.Case):
    MAIN = """smtpd_restriction_classes = policy, second, broken_later
policy = lua:$config_directory/policy.lua
second = lua:$config_directory/policy.lua:second
broken_later = lua:$config_directory/policy.lua
smtpd_recipient_restrictions = reject_unauth_destination, policy, check_sender_access inline:{dunno@s.example=REJECT}
smtpd_hard_error_limit = 1000
smtpd_soft_error_limit = 1001
"""
    FILES = {"policy.lua": LUA}

    def ask(self, who):
        client = self.client()
        client.say("EHLO client.example")
        self.assertTrue(client.say("MAIL FROM:<%s@s.example>" % who).startswith("250"))
        reply = client.say("RCPT TO:<b@dest.example>")
        client.close()
        return reply

    def test_answers(self):
        prefix = "<b@dest.example>: Recipient address rejected: "
        for who, expected in {"reject": "554 5.7.1 " + prefix + "not you", "permit": "250 2.1.5 Ok", "ok": "250 2.1.5 Ok",
                              "other": "250 2.1.5 Ok", "code": "553 5.7.9 " + prefix + "own code",
                              "class": "554 5.7.8 " + prefix + "from the second",
                              "defer": "450 4.7.1 " + prefix + "later",
                              "dunno": "554 5.7.1 <dunno@s.example>: Sender address rejected: Access denied",
                              "file": "554 5.7.1 " + prefix + "Access denied"}.items():
            with self.subTest(who):
                self.assertEqual(self.ask(who), expected)

    def test_nonsense_is_a_451_with_file_and_line(self):
        bystander = self.client()
        bystander.say("EHLO bystander.example")
        for who in ("nil", "nothing", "word", "typo", "type", "number", "true", "error", "index", "throw", "loop", "pcall",
                    "memory", "rep", "find", "stack"):
            with self.subTest(who):
                logged = len(self.instance.log_text())
                later = lambda: self.instance.log_text()[logged:]  # noqa: E731, B023
                begin = time.monotonic()
                reply = self.ask(who)
                taken = time.monotonic() - begin
                if who == "find" and reply.startswith("250"):
                    continue    # within its budget
                self.assertEqual(reply, "451 4.3.5 Server configuration error")
                self.assertLess(taken, 7)
                try:
                    case.wait_until(lambda: case.re.search(r"postfix/smtpd\[\d+\]: warning: .*policy\.lua:\d+", later()), 3,
                                    "file:line in the log")  # noqa: B023
                except AssertionError:
                    self.fail("no file:line in the log: " + later())
                self.assertEqual(bystander.say("NOOP"), "250 2.0.0 Ok")
        # After all that, mail flows.
        self.assertIn("queued as", self.submit(MAIL, sender="<permit@s.example>"))
        self.assertEqual(self.instance.log_text().count("killed by signal"), 0)

    def test_hostile_text_stays_on_its_line(self):
        reply = self.ask("crlf")
        self.assertTrue(reply.startswith(("554 5.7.1 ", "451 4.3.5")), reply)
        self.assertNotIn("\n", reply)
        self.assertLess(len(self.ask("long")), 5000)

    def test_others_go_on_during_a_loop(self):
        # The looping calls may hold a front for their budget, and no longer.
        stop, worst, errors = threading.Event(), [0.0], []

        def loop():
            while not stop.is_set():
                try:
                    self.ask("loop")
                except (OSError, AssertionError) as why:
                    errors.append(why)
        threads = [threading.Thread(target=loop) for _ in range(3)]
        for thread in threads:
            thread.start()
        for _ in range(15):
            begin = time.monotonic()
            self.assertIn("queued as", self.submit(MAIL, sender="<permit@s.example>"))
            worst[0] = max(worst[0], time.monotonic() - begin)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        self.assertLess(worst[0], 3)

    def test_broken_files_are_start_up_errors(self):
        for name, text, expected in (("syntax", "function check(\n", r"policy\.lua:\d+"),
                                     ("top level error", "\nerror('boom')\n", r"policy\.lua:2: boom"),
                                     ("no function", "x = 1\n", r"policy\.lua.*check"),
                                     ("endless at load", "while true do end\n", r"policy\.lua:1"),
                                     ("missing", None, r"policy\.lua.*No such file")):
            with self.subTest(name):
                instance = self.make("lua-" + name.replace(" ", "-"), self.MAIN, {"policy.lua": text} if text else {})
                done = instance.command("check", check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, expected)


if __name__ == "__main__":
    case.main()
