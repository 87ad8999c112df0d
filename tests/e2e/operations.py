#!/usr/bin/python3
"""An admin's day: start, status, stop, reload, check, logrotate, mistakes in the configuration, processes that die."""
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port, listening, wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nhello\r\n"


def children(pid):
    """Process ids of the direct children."""
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as found:
        return [int(child) for child in found.read().split()]


class Operations(case.Case):
    def fresh(self, name, main="", files=None, **more):
        instance = self.make(name, main, files, **more)
        self.addCleanup(instance.stop)
        return instance

    def background(self, instance):
        """`millrace start`; the end is arranged for."""
        self.addCleanup(lambda: instance.command("stop", check=False))
        return instance.command("start")

    def change(self, instance, key, value):
        path = os.path.join(instance.conf, "main.cf")
        with open(path, encoding="utf-8") as source:
            lines = [line for line in source if not line.startswith(key + " =")]
        instance.write("main.cf", "".join(lines) + ("%s = %s\n" % (key, value) if value is not None else ""))

    def rcpt(self, domain, instance=None):
        client = self.client(instance)
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@sender.example>")
        reply = client.say("RCPT TO:<b@%s>" % domain)
        client.close()
        return reply

    def test_start_status_stop(self):
        instance = self.fresh("background")
        done = instance.command("status", check=False)
        self.assertEqual((done.returncode, "not running" in done.stderr), (1, True), done.stderr)
        self.assertEqual(instance.command("stop", check=False).returncode, 1)
        self.background(instance)
        self.assertTrue(listening(instance.port))
        self.assertRegex(instance.command("status").stderr, r"is running: PID: \d+")
        again = instance.command("start", check=False)
        self.assertNotEqual(again.returncode, 0)
        self.assertIn("already running", again.stderr)
        self.assertIn("queued as", self.submit(MAIL, instance))
        self.next.wait(1)
        idle, busy = self.client(instance), self.client(instance)
        for line in ("EHLO c", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>", "DATA"):
            busy.say(line)
        begin = time.monotonic()
        instance.command("stop")
        self.assertLess(time.monotonic() - begin, 5)
        self.assertFalse(listening(instance.port))
        self.assertEqual(instance.command("status", check=False).returncode, 1)
        self.assertIn(idle.reply()[:3], ("421", ""))
        self.background(instance)
        self.assertIn("queued as", self.submit(MAIL, instance))

    def test_sigterm_in_foreground(self):
        instance = self.fresh("foreground")
        instance.start()
        sessions = [self.client(instance) for _ in range(20)]
        begin = time.monotonic()
        self.assertEqual(instance.stop(), 0)
        self.assertLess(time.monotonic() - begin, 5)
        del sessions

    def test_reload(self):
        instance = self.fresh("reload", "mynetworks = 192.0.2.0/24")
        instance.start()
        old = self.client(instance)
        old.say("EHLO client.example")
        self.assertTrue(self.rcpt("new.example", instance).startswith("454 4.7.1"), self.rcpt("new.example", instance))
        self.change(instance, "relay_domains", "dest.example new.example")
        instance.command("reload")
        wait_until(lambda: self.rcpt("new.example", instance).startswith("250"), 10, "the new relay_domains")
        self.wait_log("reload -- version", instance=instance)
        # The session that was open goes on, under the configuration it began with.
        old.say("MAIL FROM:<a@sender.example>")
        self.assertTrue(old.say("RCPT TO:<b@new.example>").startswith("454 4.7.1"))
        self.assertTrue(old.say("RCPT TO:<b@dest.example>").startswith("250"))
        old.say("DATA")
        old.send(MAIL + b".\r\n")
        self.assertIn("queued as", old.reply())
        self.next.wait(1)
        self.assertTrue(old.say("QUIT").startswith("221"))
        self.assertIn("queued as", self.submit(MAIL, instance, recipients=["<b@new.example>"]))
        self.next.wait(2)
        # And again, several times in a row, under load.
        stop, lost, sent = threading.Event(), [], []

        def load():
            while not stop.is_set():
                try:
                    reply = self.submit(MAIL, instance)
                    (sent if "queued as" in reply else lost).append(reply)
                except OSError as why:
                    lost.append(why)
        threads = [threading.Thread(target=load) for _ in range(4)]
        for thread in threads:
            thread.start()
        for round_number in range(3):
            before = instance.log_text().count("reload -- version")
            self.change(instance, "relay_domains", "dest.example round%d.example" % round_number)
            instance.command("reload")
            wait_until(lambda: instance.log_text().count("reload -- version") > before, 20, "reload")  # noqa: B023
            time.sleep(0.3)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertEqual(lost, [])
        self.next.wait(2 + len(sent))
        # The old generations are gone.
        wait_until(lambda: len(children(instance.process.pid)) <= 1 + len(os.sched_getaffinity(0)), 10, "old processes gone")

    def test_reload_changes_listeners(self):
        instance = self.fresh("listeners")
        instance.start()
        held, other = self.client(instance), free_port()
        with open(os.path.join(instance.conf, "master.cf"), encoding="utf-8") as source:
            text = source.read()
        instance.write("master.cf", text + "127.0.0.1:%d inet n - n - - smtpd\n  -o smtpd_banner=other\n" % other)
        instance.command("reload")
        wait_until(lambda: listening(other), 10, "the new port")
        instance.write("master.cf", text.replace(str(instance.port), str(other), 1))
        instance.command("reload")
        wait_until(lambda: not listening(instance.port), 10, "the old port closed")
        self.assertTrue(held.say("NOOP").startswith("250"))

    def test_reload_moves_the_metrics(self):
        instance, places = self.fresh("metrics"), (free_port(), free_port())
        instance.start()
        with open(os.path.join(instance.conf, "main.cf"), encoding="utf-8") as source:
            text = source.read()

        def reload(count, line):
            instance.write("main.cf", text + line)
            instance.command("reload")
            wait_until(lambda: instance.log_text().count("reload -- version") == count, 30, "reload %d" % count)
        reload(1, "metrics_listen = 127.0.0.1:%d\n" % places[0])
        self.assertTrue(listening(places[0]))
        reload(2, "metrics_listen = 127.0.0.1:%d\n" % places[1])
        self.assertTrue(listening(places[1]))
        wait_until(lambda: not listening(places[0]), 30, "the old place closed")
        reload(3, "")
        wait_until(lambda: not listening(places[1]), 30, "no metrics any more")

    def test_bad_reload_is_refused(self):
        instance = self.fresh("bad-reload")
        instance.start()
        held = self.client(instance)
        with open(os.path.join(instance.conf, "main.cf"), encoding="utf-8") as source:
            good = source.read()
        for name, line, expected in (("restriction", "smtpd_recipient_restrictions = reject_unauth_destinatoin", "reject_unauth_destinatoin"),
                                     ("table", "relay_domains = nosuch:/x", "nosuch"),
                                     ("value", "message_size_limit = lots", "lots"),
                                     ("lua", "smtpd_restriction_classes = p\np = lua:/nonexistent.lua\nsmtpd_recipient_restrictions = reject_unauth_destination, p", "/nonexistent.lua"),
                                     ("file", "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = /nonexistent.pem", "/nonexistent.pem")):
            with self.subTest(name):
                instance.write("main.cf", good + line + "\n")
                done = instance.command("reload", check=False)
                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertIn(expected, done.stderr)
                # The signal has no check before it: the master itself refuses.
                before = instance.log_text().count("reload refused")
                os.kill(instance.process.pid, signal.SIGHUP)
                wait_until(lambda: instance.log_text().count("reload refused") > before, 15, "refusal")  # noqa: B023
                self.assertIn(expected, instance.log_text())
                self.assertIn("queued as", self.submit(MAIL, instance))
                self.assertTrue(held.say("NOOP").startswith("250"))
        self.next.wait(5)
        self.assertEqual(len(children(instance.process.pid)), 1 + len(os.sched_getaffinity(0)))
        instance.write("main.cf", good)
        instance.command("reload")

    def test_mistakes_are_start_up_errors(self):
        # (what main.cf says, what the message must have); the line number is that of the parameter.
        for name, line, expected in (
                ("unknown table type", "relay_domains = nosuch:/etc/x", ["relay_domains", "nosuch"]),
                ("unknown type in a restriction", "smtpd_client_restrictions = check_client_access bad:/etc/x",
                 ["smtpd_client_restrictions", "bad"]),
                ("mistyped restriction", "smtpd_recipient_restrictions = permit_mynetwork, reject_unauth_destination",
                 ["smtpd_recipient_restrictions", "permit_mynetwork"]),
                ("missing table", "transport_maps = hash:$config_directory/nothere", ["transport_maps", "nothere"]),
                ("missing access table", "smtpd_sender_restrictions = check_sender_access hash:$config_directory/nothere",
                 ["smtpd_sender_restrictions", "nothere"]),
                ("missing cidr file", "mynetworks = cidr:$config_directory/nothere", ["mynetworks", "nothere"]),
                ("open relay", "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks",
                 ["smtpd_relay_restrictions", "smtpd_recipient_restrictions"]),
                ("open relay by class", "smtpd_restriction_classes = c\nc = reject\nsmtpd_relay_restrictions =\n"
                 "smtpd_recipient_restrictions = permit_mynetworks, permit", ["smtpd_recipient_restrictions"]),
                ("bad number", "message_size_limit = 10x", ["message_size_limit", "10x"]),
                ("bad time", "minimal_backoff_time = 5 parsecs", ["minimal_backoff_time"]),
                ("bad yes or no", "smtpd_delay_reject = perhaps", ["smtpd_delay_reject", "perhaps"]),
                ("out of bounds", "smtpd_hard_error_limit = -1", ["smtpd_hard_error_limit"]),
                ("missing certificate", "smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = /nothere.pem",
                 ["smtpd_tls_cert_file", "/nothere.pem"]),
                ("bad milter", "smtpd_milters = tcp:nowhere", ["smtpd_milters", "tcp:nowhere"]),
                ("bad policy service", "smtpd_recipient_restrictions = reject_unauth_destination, check_policy_service what",
                 ["smtpd_recipient_restrictions", "what"]),
                ("missing argument", "smtpd_sender_restrictions = check_sender_access", ["smtpd_sender_restrictions"]),
                ("unclosed brace", "smtpd_milters = { unix:/x", ["smtpd_milters"]),
                ("recursive name", "mydestination = $mydestination", ["mydestination"]),
                ("unknown owner", "mail_owner = nobodyhere", ["mail_owner", "nobodyhere"]),
                ("missing plugin", "smtpd_filters = plugin:nothere", ["smtpd_filters", "nothere"]),
                ("missing lua", "smtpd_filters = lua:/nothere.lua", ["smtpd_filters", "/nothere.lua"]),
                ("missing lua class", "smtpd_restriction_classes = c\nc = lua:/nothere.lua\n"
                 "smtpd_recipient_restrictions = reject_unauth_destination, c", ["/nothere.lua"]),
                ("header_checks type", "header_checks = nosuch:/x", ["header_checks", "nosuch"]),
                ("line without =", "what is this", ["what is this"])):
            with self.subTest(name):
                instance = self.fresh("mistake-" + name.replace(" ", "-"))
                path = os.path.join(instance.conf, "main.cf")
                with open(path, encoding="utf-8") as source:
                    text = source.read()
                key = line.split(" ")[0]
                text = "".join(part + "\n" for part in text.splitlines() if not part.startswith(key + " ="))
                text += line + "\n"
                instance.write("main.cf", text)
                done = instance.command("check", check=False)
                self.assertEqual(done.returncode, 1, "check accepts it: " + done.stderr)
                fatal = "\n".join(part for part in done.stderr.splitlines() if "fatal:" in part)
                for part in expected:
                    self.assertIn(part, fatal)
                if name != "unknown owner":
                    numbers = [n for n, part in enumerate(text.splitlines(), 1) if part.startswith(
                        tuple(each.split(" ")[0] for each in line.splitlines()))]
                    self.assertTrue(any("main.cf, line %d: " % n in fatal for n in numbers),
                                    "no file and line (%s): %s" % (numbers, fatal))
                begin = time.monotonic()
                run = subprocess.run([instance.binary, "-c", instance.conf, "start-fg"], capture_output=True, text=True,
                                     timeout=20, check=False)
                self.assertNotEqual(run.returncode, 0)
                self.assertLess(time.monotonic() - begin, 10)
                said = run.stderr + (instance.log_text() if os.path.exists(instance.log) else "")
                for part in expected:
                    self.assertIn(part, said)
                self.assertFalse(listening(instance.port))
                self.assertNotEqual(instance.command("start", check=False).returncode, 0)

    def test_check_exit_codes(self):
        instance = self.fresh("check")
        done = instance.command("check")
        self.assertEqual(done.stderr + done.stdout, "")
        self.change(instance, "smtpd_restrictions_classes", "x")
        done = instance.command("check")
        self.assertRegex(done.stderr, "warning: .*smtpd_restrictions_classes")
        # Checking leaves nothing behind and disturbs nothing.
        instance.start()
        instance.command("check")
        self.assertIn("queued as", self.submit(MAIL, instance))
        instance.stop()
        empty = os.path.join(self.work, "empty")
        os.makedirs(empty)
        self.assertNotEqual(self.run_tool(case.BINARY, "-c", empty, "check", status=None).returncode, 0)
        self.assertNotEqual(self.run_tool(case.BINARY, "-c", "/nonexistent", "start", status=None).returncode, 0)
        self.assertNotEqual(self.run_tool(case.BINARY, "-c", instance.conf, "frobnicate", status=None).returncode, 0)

    @unittest.skipUnless(os.geteuid() == 0, "not root")
    def test_check_of_owners_modes_and_directories(self):
        instance = self.fresh("owners")
        instance.start()
        instance.stop()
        self.assertEqual(instance.command("check").stderr, "")
        place = lambda name: os.path.join(instance.queue, name)  # noqa: E731
        os.chmod(place("private"), 0o777)
        os.chown(place("maildrop"), pwd.getpwnam("daemon").pw_uid, -1)
        os.chmod(place("store"), 0o755)
        os.rename(place("public"), place("elsewhere"))
        os.chmod(os.path.join(instance.conf, "main.cf"), 0o666)
        os.chown(os.path.join(instance.conf, "master.cf"), pwd.getpwnam("daemon").pw_uid, -1)
        done = instance.command("check")   # warnings, as Postfix's: exit status 0
        for text in ("accessible to others: " + place("private"), "not owned by %s: %s" % (case.Instance.__init__.__globals__["mail_owner"](), place("maildrop")),
                     "accessible to others: " + place("store"), "missing: " + place("public"),
                     "group or other writable: " + os.path.join(instance.conf, "main.cf"), "not owned by root: " + os.path.join(instance.conf, "master.cf")):
            self.assertIn(text, done.stderr)
        # What start can set right it does.
        os.rename(place("elsewhere"), place("public"))
        os.chmod(os.path.join(instance.conf, "main.cf"), 0o644)
        os.chown(os.path.join(instance.conf, "master.cf"), 0, -1)
        instance.start()
        self.assertEqual(instance.command("check").stderr, "")
        self.assertIn("queued as", self.submit(MAIL, instance))

    def test_tools_in_hostile_hands(self):
        instance = self.fresh("hostile")
        instance.start()
        reply = self.submit(MAIL, instance)
        self.next.wait(1)
        for args in (("queue", "-i", "../x"), ("queue", "-s", "a b"), ("queue", "-s", "$(id)"), ("queue", "-s", "[1.2.3.4"), ("queue",), ("queue", "-p", "-j"),
                     ("queue", "-x"), ("super", "-d"), ("super", "-r", "ALL", "../active"), ("super", "-d", "ALL", ""), ("cat",), ("cat", "-q", "../../etc/passwd"),
                     ("cat", "/etc/passwd"), ("cat", "-q", "x" * 5000), ("logrotate", "x"), ("status", "x"), ("stop", "x"), ("check", "x"), ("reload", "x"),
                     ("flush", "x"), ("start", "x"), ("nosuch",), ("-c",), ("map",), ("map", "-q"), ("alias", "-q", "x"), ("conf", "nosuchparameter", "-e")):
            done = instance.command(*args, check=False, stdin=subprocess.DEVNULL)
            self.assertNotEqual(done.returncode, 0, args)
            self.assertGreater(done.returncode, 0, args)
            self.assertRegex(done.stderr, "fatal|warning", args)
        for args in (("super", "-d", "../../x"), ("super", "-h", ""), ("super", "-d", "-")):
            done = instance.command(*args, check=False, input="../x\n\n\x1b[31m\n" + "A" * 100000 + "\n")
            self.assertIn("0 messages", done.stderr)
            self.assertNotIn("\x1b", done.stderr)
        self.assertIn("queued as", self.submit(MAIL, instance))
        self.wait_log(self.queue_id(reply) + ": removed", instance=instance)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "not root")
    def test_queue_tools_are_for_root(self):
        instance = self.fresh("foreign", "authorized_mailq_users = root\nauthorized_flush_users = root\ndefer_transports = relay\n")
        instance.start()
        queue_id = self.queue_id(self.submit(MAIL, instance))
        self.wait_log(queue_id + ": to=.*status=deferred", instance=instance)
        nobody = pwd.getpwnam("nobody")
        rights = ["setpriv", "--reuid=%d" % nobody.pw_uid, "--regid=%d" % nobody.pw_gid, "--clear-groups"]
        for args in (("super", "-d", "ALL"), ("super", "-h", queue_id), ("super", "-r", queue_id), ("super", "-s"), ("cat", "-q", queue_id), ("queue", "-p"), ("queue", "-j"),
                     ("queue", "-f"), ("queue", "-i", queue_id), ("queue", "-s", "dest.example"), ("stop",), ("reload",), ("logrotate",), ("queue", "import", "/tmp")):
            for running in (True, False) if args[0] in ("super", "cat") else (True,):
                if not running:
                    instance.stop()
                done = self.run_tool(*rights, case.BINARY, "-c", instance.conf, *args, status=None)
                self.assertNotEqual(done.returncode, 0, args)
                self.assertNotIn(b"secret", done.stdout)
                self.assertNotIn(b"b@dest.example", done.stdout)
                if not running:
                    instance.start()
        self.assertIn(queue_id, instance.command("queue", "-p").stdout)

    @unittest.skipUnless(os.path.exists("/usr/share/postfix/main.cf.debian"), "no Debian Postfix")
    def test_the_configuration_that_debian_installs(self):
        with open("/usr/share/postfix/main.cf.debian", encoding="utf-8") as source:
            text = source.read()
        with open("/usr/share/postfix/master.cf.dist", encoding="utf-8") as source:
            master = source.read()
        name = os.path.join(self.work, "mailname")
        with open(name, "w", encoding="ascii") as out:
            out.write("mail.debian.example\n")
        instance = self.fresh("debian")
        with open(os.path.join(instance.conf, "main.cf"), encoding="utf-8") as ours:
            base = ours.read()
        # As Debian's postinst completes it.
        instance.write("main.cf", text + base + "myorigin = %s\nmydestination = $myhostname, localhost.$mydomain, localhost\nalias_maps = hash:/etc/aliases\n"
                       "alias_database = hash:/etc/aliases\nmynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128\nmailbox_size_limit = 0\n"
                       "recipient_delimiter = +\ninet_interfaces = loopback-only\nrelayhost = [127.0.0.1]:%d\n"
                       "smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination\n" % (name, self.next.port))
        instance.write("master.cf", re.sub(r"(?m)^smtp      inet", "127.0.0.1:%d inet" % instance.port, master))
        done = instance.command("check")
        self.assertNotIn("fatal", done.stderr)
        instance.start()
        instance.command("sendmail", "-t", input="To: far@elsewhere.example\nSubject: x\n\nx\n", env=dict(os.environ, MAIL_CONFIG=instance.conf))
        message = self.next.wait(1)[0]
        self.assertRegex(message.sender, r"^FROM:<\w+@mail\.debian\.example>")
        self.assertIn("queued as", self.submit(MAIL, instance))

    def test_processes_that_die_are_replaced(self):
        instance = self.fresh("dying")
        instance.start()
        self.next.delay = 0.05
        self.addCleanup(setattr, self.next, "delay", 0)
        stop, accepted, lock = threading.Event(), set(), threading.Lock()

        def load(number):
            serial = 0
            while not stop.is_set():
                serial += 1
                name = b"%d-%d" % (number, serial)
                try:
                    client = case.Client(instance.port, 5)
                    if "queued as" in client.message(b"X-Name: " + name + b"\r\n\r\n" + b"x" * 76 * (serial % 3 * 500) + b"\r\n"):
                        with lock:
                            accepted.add(name)
                    client.close()
                except OSError:
                    time.sleep(0.02)
        threads = [threading.Thread(target=load, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            for victim in children(instance.process.pid):
                time.sleep(0.4)
                try:
                    os.kill(victim, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        time.sleep(1)
        stop.set()
        for thread in threads:
            thread.join()
        self.assertIsNone(instance.process.poll())
        wait_until(lambda: "queued as" in self.submit(MAIL, instance), 20, "mail after the deaths", 0.5)
        self.assertIn("killed by signal 9", instance.log_text())

        def missing():
            came = {m.headers()[i].split(b" ")[1] for m in list(self.next.messages)
                    for i in range(len(m.headers())) if m.headers()[i].startswith(b"X-Name:")}
            return accepted - came
        try:
            wait_until(lambda: not missing(), 30, "what was accepted is delivered", 0.5)
        except AssertionError:
            self.fail("lost: %s of %d\n%s%s" % (missing(), len(accepted), instance.command("queue", "-p").stdout,
                                               instance.log_text()[-3000:]))
        wait_until(lambda: len(children(instance.process.pid)) == 1 + len(os.sched_getaffinity(0)), 10, "all processes")

    def test_master_killed_ends_all(self):
        instance = self.fresh("headless")
        instance.start()
        family = children(instance.process.pid)
        os.kill(instance.process.pid, signal.SIGKILL)
        instance.process.wait()
        wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in family), 10, "the children end")
        self.assertLess(instance.start(), 10)
        self.assertIn("queued as", self.submit(MAIL, instance))

    def test_one_queue_directory_one_master(self):
        first = self.fresh("one")
        first.start()
        second = self.make("two", queue=first.queue)
        for command in ("start", "start-fg"):
            done = second.command(command, check=False)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn("already running", done.stderr)
            self.assertIn(first.queue, done.stderr)
        self.assertIn("queued as", self.submit(MAIL, first))

    def test_port_in_use(self):
        first = self.fresh("port-one")
        first.start()
        second = self.make("port-two", port=first.port)
        done = second.command("start-fg", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stderr, r"127\.0\.0\.1:%d.*in use" % first.port)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "not root")
    def test_without_root(self):
        account = pwd.getpwnam("nobody")
        directory = os.path.join(self.work, "rootless")
        os.makedirs(directory)
        instance = self.make("rootless/x", "mail_owner = nobody")
        subprocess.run(["chown", "-R", "%d:%d" % (account.pw_uid, account.pw_gid), directory], check=True)
        as_nobody = ["setpriv", "--reuid=%d" % account.pw_uid, "--regid=%d" % account.pw_gid, "--clear-groups"]
        process = subprocess.Popen([*as_nobody, case.BINARY, "-c", instance.conf, "start-fg"], stdin=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE)
        try:
            wait_until(lambda: listening(instance.port) or process.poll() is not None, 10, "start without root")
            self.assertIsNone(process.poll(), process.poll() is not None and process.stderr.read())
            self.assertIn("queued as", self.submit(MAIL, instance))
            self.next.wait(1)
            self.run_tool(*as_nobody, case.BINARY, "-c", instance.conf, "queue", "-p")
            self.run_tool(*as_nobody, case.BINARY, "-c", instance.conf, "status")
            self.run_tool(*as_nobody, case.BINARY, "-c", instance.conf, "reload")
            time.sleep(1)
            self.assertIn("queued as", self.submit(MAIL, instance))
            self.run_tool(*as_nobody, case.BINARY, "-c", instance.conf, "stop")
            self.assertEqual(process.wait(5), 0)
        finally:
            process.stderr.close()
            if process.poll() is None:
                process.terminate()
                process.wait()
        # A foreign owner and a low port are refused at start.
        with open(os.path.join(instance.conf, "main.cf"), encoding="utf-8") as source:
            text = source.read()
        instance.write("main.cf", text.replace("mail_owner = nobody", "mail_owner = daemon"))
        done = self.run_tool(*as_nobody, case.BINARY, "-c", instance.conf, "start-fg", status=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"mail_owner", done.stderr)

    def test_logrotate(self):
        instance = self.fresh("rotate")
        instance.start()
        self.submit(MAIL, instance)
        self.next.wait(1)
        instance.command("logrotate")
        old = [name for name in os.listdir(instance.conf) if name.startswith("maillog.")]
        self.assertEqual(len(old), 1)
        wait_until(lambda: os.path.exists(instance.log), 5, "the new file")
        reply = self.submit(MAIL, instance)
        self.next.wait(2)
        self.wait_log(re.escape(self.queue_id(reply)) + ": removed", instance=instance)
        with open(os.path.join(instance.conf, old[0]), encoding="utf-8") as log:
            self.assertNotIn(self.queue_id(reply), log.read())

    def test_privileges(self):
        if os.geteuid() != 0:
            self.skipTest("not root")
        instance = self.fresh("privileges")
        instance.start()
        owner = pwd.getpwnam(case.Instance.__init__.__globals__["mail_owner"]()).pw_uid
        for child in children(instance.process.pid):
            with open("/proc/%d/status" % child, encoding="ascii") as status:
                text = status.read()
            self.assertEqual(set(re.search(r"Uid:\s+(.*)", text).group(1).split()), {str(owner)})
            self.assertEqual(int(re.search(r"CapEff:\s+(\w+)", text).group(1), 16), 0)
            self.assertIn("NoNewPrivs:\t1", text)


if __name__ == "__main__":
    case.main()
