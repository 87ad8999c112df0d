#!/usr/bin/python3
"""Commands of pipe and spawn services: run as their own user, with what the envelope says, within their limits."""
import json
import os
import pwd
import socket
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port, wait_until  # noqa: E402

ROOT = os.geteuid() == 0
USER = "nobody" if ROOT else pwd.getpwuid(os.geteuid()).pw_name
MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nFrom here\r\n.\r\nend\r\n"

# Writes what it was given into a file of its own in the directory named by its first word.
SHOW = """import json, os, sys, tempfile
fd, path = tempfile.mkstemp(".part", dir=sys.argv[1])
with os.fdopen(fd, "w") as out:
    json.dump({"argv": sys.argv[2:], "stdin": sys.stdin.buffer.read().decode("latin-1"), "uid": os.getuid(),
               "gid": os.getgid(), "groups": os.getgroups(), "env": dict(os.environ),
               "fds": sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n))}, out)
os.chmod(path, 0o644)
os.rename(path, path[:-5] + ".json")
"""
POLICY = """import os, sys
while True:
    asked = {}
    for line in sys.stdin:
        if line == "\\n":
            break
        name, _, value = line.rstrip("\\n").partition("=")
        asked[name] = value
    else:
        sys.exit(0)
    print("action=%s %d %s\\n" % ("REJECT" if asked["recipient"].startswith("bad") else "WARN", os.getuid(), asked["recipient"]), flush=True)
"""


class Commands(case.Case):
    MAIN = """transport_maps = inline:{ {show.example = show} {one.example = one} {slow.example = slow} {busy.example = busy} {shell.example = shell} {gone.example = gone} }
relay_domains = dest.example show.example one.example slow.example busy.example shell.example gone.example
one_destination_recipient_limit = 1
busy_destination_recipient_limit = 1
slow_time_limit = 1s
guard_time_limit = 3600s
smtpd_recipient_restrictions = permit_auth_destination, reject
smtpd_data_restrictions =
recipient_delimiter = +
"""
    MASTER = """show unix - n n - - pipe
  flags=hu user=USER argv=/usr/bin/python3 WORK/show.py WORK/out ${sender} ${recipient} $nexthop {a b}
one unix - n n - - pipe
  flags=DORFB> user=USER argv=/usr/bin/python3 WORK/show.py WORK/out ${user} ${extension}
slow unix - n n - - pipe
  user=USER argv=/bin/sh -c {sleep 300 & echo $$! > WORK/out/slow.pid; wait}
busy unix - n n - 2 pipe
  user=USER argv=/bin/sh -c {echo + >> WORK/out/busy; sleep 0.3; echo - >> WORK/out/busy}
shell unix - n n - - pipe
  user=USER argv=/bin/echo $recipient
gone unix - n n - - pipe
  user=no-such-user argv=/bin/true
127.0.0.1:PORT inet n n n - 2 spawn user=USER argv=/bin/sh -c {cat; exit 3}
guard unix - n n - 0 spawn user=USER argv=/usr/bin/python3 WORK/policy.py
127.0.0.1:POLICED inet n - n - - smtpd -o smtpd_recipient_restrictions=permit_auth_destination,reject -o {smtpd_relay_restrictions=check_policy_service unix:private/guard, permit_auth_destination, reject}
"""

    @classmethod
    def prepare(cls):
        for name, text in {"show.py": SHOW, "policy.py": POLICY}.items():
            with open(os.path.join(cls.work, name), "w", encoding="utf-8") as out:
                out.write(text)
        cls.out = os.path.join(cls.work, "out")
        os.mkdir(cls.out)
        os.chmod(cls.out, 0o777)
        cls.echo, cls.policed = free_port(), free_port()
        cls.MASTER = cls.MASTER.replace("USER", USER).replace("WORK", cls.work).replace("PORT", str(cls.echo))
        cls.MASTER = cls.MASTER.replace("POLICED", str(cls.policed))

    def setUp(self):
        super().setUp()
        for name in os.listdir(self.out):
            os.unlink(os.path.join(self.out, name))

    def shown(self, count=1):
        def read():
            found = sorted(n for n in os.listdir(self.out) if n.endswith(".json"))
            if len(found) < count:
                return None
            return [json.load(open(os.path.join(self.out, n), encoding="utf-8")) for n in found]
        return wait_until(read, 10, "%d commands" % count)

    def test_argv_user_and_environment(self):
        self.submit(MAIL, sender="<A.b@sender.example>", recipients=("<First+X@show.example>", '<"c;id"@show.example>'))
        got = self.shown()[0]
        self.assertEqual(got["argv"], ["A.b@sender.example", "first+x@show.example", "c;id@show.example", "show.example", "a b"])
        if ROOT:
            self.assertEqual((got["uid"], got["gid"]), pwd.getpwnam(USER)[2:4])
            self.assertEqual(got["groups"], [pwd.getpwnam(USER)[3]])
        self.assertEqual(sorted(got["env"]), ["LANG", "LC_CTYPE", "MAIL_CONFIG", "PATH"] if "LC_CTYPE" in got["env"]
                         else ["LANG", "MAIL_CONFIG", "PATH"])
        self.assertEqual(got["env"]["PATH"], "/usr/bin:/bin")
        self.assertLessEqual(set(got["fds"]), {0, 1, 2, 3})   # the last is its own file
        self.assertTrue(got["stdin"].startswith("Received: from client.example"), got["stdin"])
        self.assertTrue(got["stdin"].endswith("\n\nFrom here\n.\nend\n"), got["stdin"])
        self.wait_log(r"to=<c;id@show.example>, (orig_to=\S+ )?relay=show, .* dsn=2.0.0, status=sent \(delivered via show service\)")

    def test_headers_on_top(self):
        self.submit(MAIL, recipients=("<Joe+ext@one.example>",))
        got = self.shown()[0]
        self.assertEqual(got["argv"], ["Joe", "ext"])
        lines = got["stdin"].split("\n")
        self.assertRegex(lines[0], r"^From a@sender.example  ... ... .. ..:..:.. ....$")
        self.assertEqual(lines[1:4], ["Return-Path: <a@sender.example>", "X-Original-To: Joe+ext@one.example",
                                      "Delivered-To: Joe+ext@one.example"])
        self.assertTrue(got["stdin"].endswith("\n>From here\n.\nend\n\n"), got["stdin"])

    def test_delivered_to_loop(self):
        reply = self.submit(b"Delivered-To: LOOP@one.example\r\n" + MAIL, recipients=("<loop@one.example>",))
        self.wait_log(self.queue_id(reply) + r": to=<loop@one.example>.* dsn=5.4.6, status=bounced \(mail forwarding loop")

    def test_large_message(self):
        body = b"0123456789abcdef\r\n" * 200000
        self.submit(MAIL + body, recipients=("<big@one.example>",))
        self.assertEqual(self.shown()[0]["stdin"].count("0123456789abcdef\n"), 200000)

    def test_time_limit_ends_all_of_it(self):
        reply = self.submit(MAIL, recipients=("<a@slow.example>",))
        self.wait_log(self.queue_id(reply) + r': .* dsn=5.3.0, status=bounced \(Command time limit exceeded: "/bin/sh"')
        with open(os.path.join(self.out, "slow.pid"), encoding="ascii") as file:
            pid = int(file.read())

        def dead():
            try:
                with open("/proc/%d/stat" % pid, encoding="ascii") as stat:
                    return stat.read().split(")")[1].split()[0] == "Z"
            except FileNotFoundError:
                return True
        wait_until(dead, 5, "the command's child to be ended")

    def test_process_limit(self):
        self.submit(MAIL, recipients=["<u%d@busy.example>" % i for i in range(6)])
        path = os.path.join(self.out, "busy")
        wait_until(lambda: os.path.exists(path) and open(path, encoding="ascii").read().count("-") == 6, 15, "six commands")
        now = most = 0
        with open(path, encoding="ascii") as file:
            for line in file:
                now += 1 if line[0] == "+" else -1
                most = max(most, now)
        self.assertEqual(most, 2)

    def test_no_shell(self):
        reply = self.submit(MAIL, recipients=('<"$(id)`id`|x"@shell.example>',))
        self.wait_log(self.queue_id(reply) + r": .*status=sent \(delivered via shell service \(\$\(id\)`id`\|x@shell.example\)\)")

    def test_unknown_user_waits(self):
        reply = self.submit(MAIL, recipients=("<a@gone.example>",))
        self.wait_log(self.queue_id(reply) + r": .* dsn=4.3.0, status=deferred \(temporary failure. Command output: pipe: fatal: unknown user: no-such-user")

    def test_spawn_on_inet(self):
        with socket.create_connection(("127.0.0.1", self.echo), 10) as sock:
            sock.sendall(b"hello\n")
            self.assertEqual(sock.recv(100), b"hello\n")
        self.wait_log(r"service 127.0.0.1:\d+: command \d+: exit status 3")

    def test_spawn_process_limit(self):
        socks = [socket.create_connection(("127.0.0.1", self.echo), 10) for _ in range(3)]
        for sock in socks:
            sock.sendall(b"x")
        self.assertEqual([sock.recv(1) for sock in socks[:2]], [b"x", b"x"])
        socks[2].settimeout(0.3)
        with self.assertRaises(TimeoutError):
            socks[2].recv(1)
        socks[0].close()
        socks[2].settimeout(10)
        self.assertEqual(socks[2].recv(1), b"x")
        for sock in socks[1:]:
            sock.close()

    def test_spawned_policy_service(self):
        client = case.Client(self.policed)
        self.addCleanup(client.close)
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@sender.example>")
        uid = pwd.getpwnam(USER)[2]
        self.assertEqual(client.say("RCPT TO:<bad@dest.example>"),
                         "554 5.7.1 <bad@dest.example>: Recipient address rejected: %d bad@dest.example" % uid)
        self.assertEqual(client.say("RCPT TO:<good@dest.example>"), "250 2.1.5 Ok")

    def test_reload_keeps_spawn_listening(self):
        self.instance.command("reload")
        self.wait_log(r"reload -- version")
        with socket.create_connection(("127.0.0.1", self.echo), 10) as sock:
            sock.sendall(b"again\n")
            self.assertEqual(sock.recv(100), b"again\n")
        self.submit(MAIL, recipients=("<After@one.example>",))
        self.assertEqual(self.shown()[0]["argv"][0], "After")


class Refused(unittest.TestCase):
    def check(self, master):
        import tempfile
        with tempfile.TemporaryDirectory() as work:
            os.chmod(work, 0o755)
            instance = case.Instance(case.BINARY, work, "", master=master)
            return instance.command("check", check=False)

    @unittest.skipUnless(ROOT, "needs root")
    def test_privileged_users(self):
        for user in ("root", "nobody:root", pwd.getpwuid(os.geteuid()).pw_name):
            done = self.check("x unix - n n - - pipe user=%s argv=/bin/true\n" % user)
            self.assertEqual(done.returncode, 1, user)
            self.assertIn("root privileges", done.stdout + done.stderr)
        from instance import mail_owner
        done = self.check("x unix - n n - - spawn user=%s argv=/bin/true\n" % mail_owner())
        self.assertIn("specifies mail system owner", done.stdout + done.stderr)
        self.assertEqual(done.returncode, 1)

    def test_attributes(self):
        for line, text in {"pipe argv=/bin/true": "missing user= attribute", "pipe user=nobody": "missing argv= attribute",
                           "pipe flags=Z user=nobody argv=/bin/true": "unknown flag: Z",
                           "pipe user=nobody argv=/bin/true $home": 'unknown macro name: "home"'}.items():
            done = self.check("x unix - n n - - %s\n" % line)
            self.assertEqual(done.returncode, 1, line)
            self.assertIn(text, done.stdout + done.stderr)


if __name__ == "__main__":
    case.main()
