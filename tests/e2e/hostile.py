#!/usr/bin/python3
"""Clients that mean no good: junk, floods, slowness, half-open connections. Nothing hangs, memory stays bounded,
others are served meanwhile."""
import os
import random
import resource
import socket
import struct
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import mime_bombs  # noqa: E402
from instance import wait_until  # noqa: E402

random.seed(8)
MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nhello\r\n"


def family(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as found:
        return [pid] + [int(child) for child in found.read().split()]


def anonymous_kib(pid):
    """RssAnon of a process and its children, in KiB."""
    total = 0
    for each in family(pid):
        with open("/proc/%d/status" % each, encoding="ascii") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
    return total


def descriptors(pid):
    return sum(len(os.listdir("/proc/%d/fd" % each)) for each in family(pid))


def converse(sock, *lines):
    """Says each line when the reply to the one before has come."""
    replies = sock.makefile("rb")
    replies.readline()
    for line in lines:
        sock.sendall(line + b"\r\n")
        while replies.readline()[3:4] == b"-":
            pass
    replies.detach()


class Bystander:
    """An honest client that sends a message every 50 ms on sessions of its own and takes the time."""

    def __init__(self, port):
        self.port, self.worst, self.count, self.failures, self.ended = port, 0.0, 0, [], threading.Event()
        self.thread = threading.Thread(target=self.work)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()

    def work(self):
        while not self.ended.wait(0.05):
            begin = time.monotonic()
            try:
                client = case.Client(self.port, 20)
                reply = client.message(MAIL)
                client.close()
                if "queued as" not in reply:
                    self.failures.append(reply)
            except OSError as why:
                self.failures.append(repr(why))
            self.count += 1
            self.worst = max(self.worst, time.monotonic() - begin)


class Hostile(case.Case):
    MAIN = """smtpd_timeout = 3s
smtpd_error_sleep_time = 0
smtpd_starttls_timeout = 3s
default_process_limit = 6000
smtpd_client_connection_count_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = %(work)s/cert.pem
smtpd_tls_key_file = %(work)s/key.pem
"""

    @classmethod
    def prepare(cls):
        case.certificate(cls.work)
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(limit[1], 65536), limit[1]))

    def setUp(self):
        super().setUp()
        self.master = self.instance.process.pid
        self.processes = sorted(family(self.master))
        self.memory, self.files = anonymous_kib(self.master), descriptors(self.master)

    def tearDown(self):
        """Nobody died, nothing leaked, mail flows."""
        self.assertEqual(sorted(family(self.master)), self.processes, self.instance.log_text()[-3000:])
        self.assertIn("queued as", self.submit(MAIL))
        wait_until(lambda: descriptors(self.master) <= self.files + 10, 10, "descriptors are given back")

    def drain(self, sock, seconds=15):
        """What came until the other side closed; fails when it does not within the time."""
        sock.settimeout(seconds)
        out, end = b"", time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                data = sock.recv(65536)
                if not data:
                    return out
                out = (out + data)[-200000:]
        except ConnectionResetError:
            return out
        except TimeoutError:
            pass
        self.fail("still open: %r" % out[-300:])

    def connect(self):
        sock = socket.create_connection(("127.0.0.1", self.instance.port), 10)
        self.addCleanup(sock.close)
        return sock

    def test_junk(self):
        pool = [b"EHLO x\r\n", b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<b@dest.example>\r\n", b"DATA\r\n", b"\r\n.\r\n",
                b"BDAT 10\r\n", b"BDAT 5 LAST\r\n", b"RSET\r\n", b"\0", b"\r", b"\n", b"\xff\xfe", b"STARTTLS\r\n", b"QUIT\r\n",
                b"MAIL FROM:<", b">" * 300, b"(" * 300, b"\"" * 99, b"AUTH PLAIN\r\n", b"XCLIENT ADDR=1\r\n", b"\x16\x03\x01\x02\0\x01\0"]
        with Bystander(self.instance.port) as other:
            for _ in range(150):
                sock = self.connect()
                try:
                    for _ in range(random.randint(1, 40)):
                        sock.sendall(random.choice(pool) if random.random() < 0.7 else random.randbytes(random.randint(1, 3000)))
                    sock.shutdown(socket.SHUT_WR)
                except OSError:
                    pass
                self.drain(sock)
                sock.close()
        self.assertEqual(other.failures, [])
        self.assertLess(other.worst, 4)

    def test_endless_lines(self):
        def flood(before, piece, total):
            sock = self.connect()
            sock.sendall(before)
            try:
                for _ in range(total // len(piece)):
                    sock.sendall(piece)
                sock.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            said = self.drain(sock, 30)
            sock.close()
            return said
        envelope = b"EHLO c\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<b@dest.example>\r\n"
        with Bystander(self.instance.port) as other:
            for name, before, piece in (("command", b"", b"x" * 65536), ("command after EHLO", b"EHLO c\r\nMAIL FROM:<", b"a" * 65536),
                                        ("nul", b"", b"\0" * 65536), ("body", envelope + b"DATA\r\nSubject: x\r\n\r\n", b"x" * 65536),
                                        ("header", envelope + b"DATA\r\nSubject: ", b"x" * 65536),
                                        ("folded header", envelope + b"DATA\r\nSubject: x\r\n", b" x\r\n" * 16384),
                                        ("headers", envelope + b"DATA\r\n", b"X-A: b\r\n" * 8192),
                                        ("returns", envelope + b"DATA\r\n\r\n", b"\r" * 65536),
                                        ("dots", envelope + b"DATA\r\n\r\n", b"..\r\n" * 16384),
                                        ("empty lines", b"", b"\r\n" * 32768), ("bdat", envelope + b"BDAT 99999999\r\n", b"x" * 65536),
                                        ("noops", b"", b"NOOP\r\n" * 10000)):
                with self.subTest(name):
                    flood(before, piece, 12_000_000)
                    self.assertLess(anonymous_kib(self.master), self.memory + 60000)
        self.assertEqual(other.failures, [])
        self.assertLess(other.worst, 5)

    def test_odd_commands(self):
        client = self.client()
        client.say("EHLO c")
        for line, expected in ((b"MAIL FROM:<a@b> SIZE=99999999999999999999", "5"),
                               (b"MAIL FROM:<\0>", "5"), (b"RCPT TO:<b@dest.example>", "503"), (b"\xff\xff", "5"), (b"", "500")):
            reply = client.say(line)
            self.assertTrue(reply.startswith(expected), (line[:50], reply))
            if len(reply) > 4 and reply.startswith("421"):
                break
            client.say("RSET")

    def test_slow_clients_time_out(self):
        with Bystander(self.instance.port) as other:
            begin = time.monotonic()
            silent, dripping = self.connect(), self.connect()
            stuck = self.connect()
            converse(stuck, b"EHLO c", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@dest.example>", b"DATA")
            stuck.sendall(b"Subject: x\r\n")
            tls = self.client()
            tls.say("STARTTLS")
            chunk = self.connect()
            converse(chunk, b"EHLO c", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@dest.example>")
            chunk.sendall(b"BDAT 1000 LAST\r\nabc")

            def drip():
                try:
                    for _ in range(100):
                        dripping.sendall(b"N")
                        time.sleep(0.2)
                except OSError:
                    pass
            thread = threading.Thread(target=drip)
            thread.start()
            self.assertIn(b"421 4.4.2 mx.mill.example Error: timeout exceeded", self.drain(silent, 12))
            self.assertIn(b"421 4.4.2 ", self.drain(stuck, 12))
            self.drain(chunk, 12)
            self.drain(tls.sock, 12)
            self.assertLess(time.monotonic() - begin, 15)
            thread.join()
        self.assertEqual(other.failures, [])
        self.assertLess(other.worst, 3)
        self.wait_log("timeout after DATA")

    def test_idle_connections(self):
        count = 2000
        self.instance.stop()
        # Idle for longer than it takes to open them all.
        path = os.path.join(self.instance.conf, "main.cf")
        with open(path, encoding="utf-8") as source:
            text = source.read()
        self.instance.write("main.cf", text + "smtpd_timeout = 60s\n")
        self.instance.start()
        try:
            master = self.instance.process.pid
            self.submit(MAIL)
            before = anonymous_kib(master)
            socks = []
            for _ in range(count):
                sock = socket.create_connection(("127.0.0.1", self.instance.port), 10)
                socks.append(sock)
            for sock in socks:
                sock.settimeout(30)
                self.assertTrue(sock.recv(100).startswith(b"220 "))
            each = (anonymous_kib(master) - before) / count
            with Bystander(self.instance.port) as other:
                for sock in random.sample(socks, 200):
                    sock.sendall(b"NOOP\r\n")
                    self.assertTrue(sock.recv(100).startswith(b"250"))
                time.sleep(1)
            self.assertEqual(other.failures, [])
            self.assertLess(other.worst, 2)
            self.assertLess(each, 32, "KiB for each idle session")
            for sock in socks:
                sock.close()
            wait_until(lambda: descriptors(master) < 200, 15, "all sessions ended")
        finally:
            self.instance.write("main.cf", text)
            self.instance.stop()
            self.instance.start()
            self.master = self.instance.process.pid
            self.processes = sorted(family(self.master))
            self.files = descriptors(self.master) + 10

    def test_half_closed(self):
        sock = self.connect()
        sock.sendall(b"EHLO c\r\nMAIL FROM:<a@sender.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n" + MAIL + b".\r\nQUIT\r\n")
        sock.shutdown(socket.SHUT_WR)
        said = self.drain(sock)
        # Talking ahead of replies without waiting for EHLO's is refused (or taken), but always answered.
        self.assertTrue(b"221 " in said or b"queued as" in said or b"554 5.5.0" in said or b"503" in said, said)
        sock = self.connect()
        sock.recv(1000)
        sock.shutdown(socket.SHUT_WR)
        self.drain(sock)

    def test_gone_in_the_middle(self):
        steps = [b"EHLO c\r\n", b"MAIL FROM:<a@sender.example>\r\n", b"RCPT TO:<b@dest.example>\r\n", b"DATA\r\n", MAIL + b"half a message", b"x" * 100000, b"\r\n.\r"]
        for number in range(280):
            sock = self.connect()
            client = sock.makefile("rb")
            client.readline()
            try:
                for step in steps[:number % 7 + 1]:
                    sock.sendall(step)
                    if step.endswith(b"\n"):
                        while client.readline()[3:4] == b"-":
                            pass
            except OSError:
                pass
            if number % 2:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))    # a reset
            client.close()
            sock.close()
        time.sleep(0.5)
        self.assertFalse(any(b"half a message" in message.content for message in self.next.messages))
        self.assertIn("is empty", self.instance.command("queue", "-p").stdout)

    def test_never_reads(self):
        # Replies pile up until the socket is full: then the session waits, and times out; it does not grow.
        socks = []
        with Bystander(self.instance.port) as other:
            for _ in range(10):
                sock = socket.socket()
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                sock.settimeout(2)
                sock.connect(("127.0.0.1", self.instance.port))
                socks.append(sock)
                try:
                    for _ in range(200):
                        sock.sendall(b"EHLO c\r\n" * 1000)
                except OSError:
                    pass
            self.assertLess(anonymous_kib(self.master), self.memory + 30000)
            time.sleep(4)
        for sock in socks:
            sock.close()
        self.assertEqual(other.failures, [])

    def test_too_many_errors_and_recipients(self):
        client = self.client()
        client.send(b"BOGUS\r\n" * 1000)
        said = self.drain(client.sock)
        self.assertIn(b"421 4.7.0 mx.mill.example Error: too many errors", said)
        client = self.client()
        client.say("EHLO c")
        client.say("MAIL FROM:<a@sender.example>")
        replies = [client.say("RCPT TO:<b%d@dest.example>" % n) for n in range(1005)]
        self.assertEqual(sum(r.startswith("250") for r in replies), 1000)
        self.assertTrue(replies[1001].startswith("452 4.5.3"), replies[1001])

    def test_hostile_mime_costs_little_memory(self):
        """Each alone in an instance of its own with all checks on: at most 16 MiB more, whatever it is answered."""
        checks = "".join("%s = pcre:{{/^X-None: never/ REJECT}}\n" % name for name in
                         ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks"))
        bombs = mime_bombs.bombs()
        for name, content in bombs.items():
            with self.subTest(name):
                instance = self.make("bomb-" + name, "message_size_limit = 20480000\n" + checks)
                instance.start()
                self.addCleanup(instance.stop)
                self.submit(MAIL, instance=instance)   # what is made at the first message is not the bomb's
                before = anonymous_kib(instance.process.pid)
                reply, most = mime_bombs.send(instance.port, content, lambda: anonymous_kib(instance.process.pid))  # pylint: disable=cell-var-from-loop
                self.assertIn(reply[:3], ("250", "550", "552"), reply)
                self.assertLess(most - before, 16 * 1024, name)
                instance.stop()

    def test_mime_bombs(self):
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(20000))
        wide = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n" + b"--b\r\n\r\n" * 300000
        with Bystander(self.instance.port) as other:
            for name, content in (("deep", deep), ("wide", wide), ("addresses", b"To: " + b"<a@b>," * 300000 + b"\r\n\r\nx\r\n"),
                                  ("comments", b"To: " + b"(" * 90000 + b"\r\nFrom: " + b"\"" * 90000 + b"\r\n\r\nx\r\n"),
                                  ("received", b"Received: by x\r\n" * 60 + b"\r\nx\r\n")):
                with self.subTest(name):
                    reply = self.submit(b"MIME-Version: 1.0\r\n" + content)
                    self.assertIn(reply[:1], "245")
                    if name == "received":
                        self.assertTrue(reply.startswith("554 5.4.0"), reply)
        self.assertEqual(other.failures, [])
        self.assertLess(other.worst, 3)
        self.assertLess(anonymous_kib(self.master), self.memory + 60000)

    def test_tls_garbage(self):
        for number in range(30):
            client = self.client()
            client.say("EHLO c")
            client.say("STARTTLS")
            try:
                client.send(random.randbytes(number * 300))
                client.sock.shutdown(socket.SHUT_WR)
                self.drain(client.sock)
            except OSError:
                pass   # it may well have reset the connection by now
        # What was sent in the clear behind STARTTLS is not part of the encrypted session.
        client = self.client()
        client.say("EHLO c")
        client.send(b"STARTTLS\r\nNOOP\r\n")
        self.assertTrue(client.reply().startswith(("220", "554")))


if __name__ == "__main__":
    case.main()
