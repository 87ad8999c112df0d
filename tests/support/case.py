"""What the end-to-end tests share: the program under test from the command line, a temporary folder, an
instance with a capturing next hop behind it, a raw SMTP client.  Run a file with --millrace BIN [unittest options]."""
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tempfile
import unittest

from instance import Instance, wait_until
from next_hop import NextHop

BINARY = None


def main():
    global BINARY  # pylint: disable=global-statement
    arguments = sys.argv[1:]
    at = arguments.index("--millrace")
    # The tests see this module as `case`, whatever started them.
    sys.modules["case"].BINARY = BINARY = os.path.abspath(arguments[at + 1])
    del arguments[at:at + 2]
    unittest.main(module="__main__", argv=sys.argv[:1] + arguments, verbosity=2)


class Client:
    """A raw SMTP client: sends what it is told to, bytes included."""

    def __init__(self, port, seconds=30, greeting=True, source=None):
        self.sock = socket.create_connection(("127.0.0.1", port), seconds, source and (source, 0))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.stream = self.sock.makefile("rb")
        self.greeting = self.reply() if greeting else ""

    def reply(self):
        """One reply, lines joined by newlines; "" when the connection has ended."""
        lines = []
        while True:
            line = self.stream.readline().decode("utf-8", "replace")
            if not line:
                return ""
            lines.append(line.rstrip("\r\n"))
            if line[3:4] != "-":
                return "\n".join(lines)

    def send(self, data):
        self.sock.sendall(data if isinstance(data, bytes) else data.encode())

    def say(self, line):
        self.send(line + "\r\n" if isinstance(line, str) else line + b"\r\n")
        return self.reply()

    def starttls(self):
        reply = self.say("STARTTLS")
        context = ssl._create_unverified_context()  # pylint: disable=protected-access
        self.sock = context.wrap_socket(self.sock)
        self.stream = self.sock.makefile("rb")
        return reply

    def message(self, content, sender="<a@sender.example>", recipients=("<b@dest.example>",), helo="client.example"):
        """A whole transaction with DATA; `content` has CRLF lines and is dot-stuffed here. The last reply."""
        if helo:
            self.say("EHLO " + helo)
        for line in ["MAIL FROM:" + sender] + ["RCPT TO:" + r for r in recipients]:
            reply = self.say(line)
            if not reply.startswith("2"):
                return reply
        reply = self.say("DATA")
        if not reply.startswith("354"):
            return reply
        content = (b"\n" + content).replace(b"\n.", b"\n..")[1:]
        self.send(content + b".\r\n")
        return self.reply()

    def close(self):
        self.stream.close()
        self.sock.close()


class Case(unittest.TestCase):
    """One instance and one next hop for the whole class; `MAIN`, `FILES` and `MASTER` as Instance takes them,
    %(next)d in MAIN being the next hop's port."""
    MAIN = ""
    FILES = {}
    MASTER = ""
    EXTENSIONS = NextHop.EXTENSIONS
    RELAY = "relayhost=[127.0.0.1]:%(next)d\nrelay_transport=relay:[127.0.0.1]:%(next)d\n"

    @classmethod
    def prepare(cls):
        """What a theme needs besides, before the instance is configured."""

    @classmethod
    def setUpClass(cls):
        cls.work = tempfile.mkdtemp(prefix="millrace-e2e-")
        os.chmod(cls.work, 0o755)
        cls.addClassCleanup(shutil.rmtree, cls.work, True)
        cls.next = NextHop(cls.EXTENSIONS)
        cls.addClassCleanup(cls.next.down)
        cls.prepare()
        cls.instance = cls.make("millrace", cls.MAIN, cls.FILES, cls.MASTER)
        cls.addClassCleanup(cls.finish)
        cls.instance.start()

    @classmethod
    def make(cls, name, main="", files=None, master="", **more):
        values = {"next": cls.next.port, "work": cls.work}
        return Instance(BINARY, cls.work, (cls.RELAY + main) % values, files, name=name, master=master % values, **more)

    @classmethod
    def finish(cls):
        cls.instance.stop()
        if os.environ.get("E2E_LOG"):
            sys.stderr.write(cls.instance.log_text())

    def setUp(self):
        self.next.replies.clear()
        self.next.clear()

    def client(self, instance=None, **more):
        client = Client((instance or self.instance).port, **more)
        self.addCleanup(client.close)
        return client

    def submit(self, content, instance=None, **more):
        client = self.client(instance)
        reply = client.message(content, **more)
        client.say("QUIT")
        client.close()
        return reply

    def queue_id(self, reply):
        found = re.search(r"queued as (\w+)", reply)
        self.assertTrue(found, reply)
        return found.group(1)

    def wait_log(self, pattern, seconds=10, instance=None):
        """The first match of `pattern` (multi-line regular expression) in the log."""
        log = (instance or self.instance).log_text
        try:
            return wait_until(lambda: re.search(pattern, log(), re.M), seconds, "in the log: " + pattern)
        except AssertionError as why:
            raise AssertionError("%s\n%s" % (why, log()[-6000:])) from None

    def run_tool(self, *command, status=0, **more):
        done = subprocess.run(command, capture_output=True, timeout=60, **more)  # pylint: disable=subprocess-run-check
        if status is not None:
            self.assertEqual(done.returncode, status,
                             "%s\n%s%s" % (" ".join(map(str, command)), done.stdout[-3000:], done.stderr[-3000:]))
        return done


def certificate(work):
    """(certificate file, key file) of a self-signed test certificate."""
    cert, key = os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=mx.mill.example"],
                   check=True, capture_output=True)
    return cert, key
