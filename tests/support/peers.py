"""Third-party filters as a test's own processes: OpenDKIM with a fresh key, postgrey, a DNS server for the key."""
import os
import shutil
import socket
import signal
import subprocess

from instance import free_port, listening, wait_until


def ends(process):
    """Ends one process that a test started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


class OpenDkim:
    def __init__(self, work, mode, domain="sender.example", socket_at=None, extra="", name="dkim", canonicalization="relaxed/simple"):
        self.directory = os.path.join(work, name + mode)
        os.makedirs(self.directory)
        self.socket = socket_at or "local:" + os.path.join(self.directory, "socket")
        self.selector, self.domain, self.work = "sel", domain, work
        key = os.path.join(work, "dkim.key")
        if not os.path.exists(key):
            subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
            os.chmod(key, 0o600)
        pem = subprocess.run(["openssl", "rsa", "-in", key, "-pubout"], check=True, capture_output=True, text=True).stdout
        self.record = "v=DKIM1; k=rsa; p=" + "".join(pem.split("\n")[1:-2])
        keys = os.path.join(work, "dkim.keys")
        with open(keys, "w", encoding="ascii") as out:
            out.write("%s._domainkey.%s %s\n" % (self.selector, domain, self.record))
        with open(os.path.join(self.directory, "conf"), "w", encoding="ascii") as out:
            out.write("Mode %s\nDomain %s\nSelector %s\nKeyFile %s\nSocket %s\nSyslog no\nUMask 000\n"
                      "RequireSafeKeys no\nInternalHosts %s\nCanonicalization %s\n"
                      "TestPublicKeys %s\nAuthservID mx.mill.example\nAlwaysAddARHeader yes\nOversignHeaders From\n%s\n"
                      % (mode, domain, self.selector, key, self.socket, "127.0.0.1" if mode == "s" else "192.0.2.1", canonicalization, keys, extra))
        self.process = None
        self.start()

    def start(self):
        self.process = subprocess.Popen(["opendkim", "-f", "-x", os.path.join(self.directory, "conf")],
                                        stdin=subprocess.DEVNULL)
        kind, _, place = self.socket.partition(":")
        wait_until(lambda: listening(int(place.split("@")[0])) if kind == "inet" else os.path.exists(place), 10, "opendkim")
        if kind != "inet":
            os.chmod(place, 0o777)

    @property
    def milter(self):
        kind, _, place = self.socket.partition(":")
        return "unix:" + place if kind == "local" else "inet:127.0.0.1:" + place.split("@")[0]

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def end(self):
        ends(self.process)


class Postgrey:
    def __init__(self, work, delay=2, unix=None):
        directory = os.path.join(work, "postgrey")
        os.makedirs(directory)
        self.port = free_port()
        self.unix = unix
        for name in ("clients", "recipients"):
            open(os.path.join(directory, name), "w", encoding="ascii").close()
        shutil.chown(directory, "postgrey", "postgrey")
        where = ["--unix=" + unix] if unix else ["--inet=127.0.0.1:%d" % self.port]
        self.process = subprocess.Popen(["postgrey", "--dbdir=" + directory, "--delay=%d" % delay, "--hostname=mx", *where,
                                         "--whitelist-clients=" + os.path.join(directory, "clients"),
                                         "--whitelist-recipients=" + os.path.join(directory, "recipients")],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        # The socket is there before everybody may write to it, and before anybody listens.
        wait_until(lambda: self.answers_unix() if unix else listening(self.port), 20, "postgrey")

    def answers_unix(self):
        if not (os.path.exists(self.unix) and os.stat(self.unix).st_mode & 2):
            return False
        with socket.socket(socket.AF_UNIX) as sock:
            try:
                sock.connect(self.unix)
                return True
            except OSError:
                return False

    def end(self):
        ends(self.process)
