"""Runs `millrace policyd plugin:spf` for a test, with a zone of its own."""
import os
import shutil
import signal
import socket
import subprocess
import tempfile

from dns_zone import DnsZone
from instance import wait_until


class Asker:
    """One connection to a policy service."""

    def __init__(self, address, seconds=60):
        if isinstance(address, str):
            self.sock = socket.socket(socket.AF_UNIX)
            self.sock.connect(address)      # waits for room among those who wait, which it would not with a time-out
            self.sock.settimeout(seconds)
        else:
            self.sock = socket.create_connection(address, seconds)
        self.stream = self.sock.makefile("rb")

    def send(self, data):
        self.sock.sendall(data)

    def ask(self, client="192.0.2.1", helo="mail.example", sender="a@sender.example", recipient="b@rcpt.example", **more):
        attributes = dict(request="smtpd_access_policy", protocol_state="RCPT", protocol_name="ESMTP", client_address=client,
                          client_name="unknown", helo_name=helo, sender=sender, recipient=recipient, **more)
        self.send("".join("%s=%s\n" % pair for pair in attributes.items()).encode("utf-8", "surrogateescape") + b"\n")
        return self.answer()

    def answer(self):
        """The action; None when the connection has ended."""
        line = self.stream.readline()
        if not line or self.stream.readline() != b"\n":
            return None
        return line.decode("utf-8", "replace").rstrip("\n").partition("action=")[2]

    def close(self):
        self.stream.close()
        self.sock.close()


class Policyd:
    def __init__(self, binary, zone, keys="", config=None, sockets=None, more=(), silent=False):
        self.work = tempfile.mkdtemp(prefix="policyd.")
        os.chmod(self.work, 0o777)
        self.dns = DnsZone(zone, silent)
        with open(self.work + "/resolv.conf", "w", encoding="ascii") as file:
            file.write("nameserver 127.0.0.1@%d\n" % self.dns.port)
        os.mkdir(self.work + "/plugins")
        shutil.copy(os.path.join(os.path.dirname(binary), "plugins", "spf.so"), self.work + "/plugins/spf.so")
        os.chmod(self.work + "/plugins/spf.so", 0o644)
        self.config = self.work + "/policyd-spf.conf"
        if config is not None:
            self.configure(config)
        self.socket = self.work + "/socket"
        self.log = open(self.work + "/log", "w+b")
        self.arguments = [binary, "-c", self.work, "policyd", "--plugins", self.work + "/plugins", "--resolv-conf",
                          self.work + "/resolv.conf", *more]
        if config is not None:
            self.arguments += ["--config", self.config]
        self.filter = "{ plugin:spf %s }" % keys if keys else "plugin:spf"
        self.process = None
        if sockets != []:
            self.start(sockets or ["unix:" + self.socket])

    def configure(self, text):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(text)

    def start(self, sockets):
        words = [word for name in sockets for word in ("--socket", name)]
        self.process = subprocess.Popen(self.arguments + words + [self.filter], stderr=self.log, stdin=subprocess.DEVNULL)
        wait_until(lambda: self.process.poll() is not None or os.path.exists(self.socket) and "serving" in self.log_text(), 20,
                   "policyd's socket")
        assert self.process.poll() is None, self.log_text()

    def log_text(self):
        with open(self.work + "/log", encoding="utf-8", errors="replace") as file:
            return file.read()

    def asker(self, seconds=60):
        return Asker(self.socket, seconds)

    def hang_up(self):
        self.process.send_signal(signal.SIGHUP)

    def stop(self):
        """The exit status."""
        status = None
        if self.process is not None:
            self.process.terminate()
            status = self.process.wait(20)
        self.dns.close()
        self.log.close()
        shutil.rmtree(self.work, ignore_errors=True)
        return status
