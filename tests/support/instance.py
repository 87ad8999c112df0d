"""Runs a Millrace of its own for a test: a configuration directory in a temporary folder, free loopback
ports, start in the foreground, stop or kill.  Used by the end-to-end tests, the crash ledger and the demo."""
import os
import pwd
import signal
import socket
import subprocess
import time

MASTER = """127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
relay unix - - n - - smtp
lmtp unix - - n - - lmtp
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
"""


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def mail_owner():
    for name in ("postfix", "millrace"):
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            pass
    return pwd.getpwuid(os.geteuid()).pw_name


def listening(port):
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
        return True
    except OSError:
        return False


def wait_until(condition, seconds, what, step=0.02):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(step)
    raise AssertionError("not within %g s: %s" % (seconds, what))


class Instance:
    def __init__(self, binary, work, main="", files=None, queue=None, port=None, name="millrace", master=""):
        self.binary = os.path.abspath(binary)
        self.port = port or free_port()
        self.conf = os.path.join(work, name)
        self.queue = queue or os.path.join(self.conf, "queue")
        self.log = os.path.join(self.conf, "maillog")
        self.process = None
        owner = pwd.getpwnam(mail_owner())
        for path in (self.conf, self.queue, os.path.join(self.conf, "data")):
            os.makedirs(path, exist_ok=True)
        for path in (self.queue, os.path.join(self.conf, "data")):
            os.chown(path, owner.pw_uid, owner.pw_gid)
        base = {"compatibility_level": "3.6", "myhostname": "mx.mill.example", "mydestination": "",
                "local_recipient_maps": "", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
                "mynetworks": "127.0.0.0/8", "relay_domains": "dest.example", "mail_owner": owner.pw_name,
                "queue_directory": self.queue, "data_directory": os.path.join(self.conf, "data"),
                "maillog_file": self.log, "maillog_file_prefixes": work,
                "notify_classes": ""}   # no letters to postmaster between the mail that a test waits for
        for line in main.strip().splitlines():
            key, value = line.split("=", 1)
            base[key.strip()] = value.strip()
        self.write("main.cf", "".join("%s = %s\n" % item for item in base.items()))
        self.write("master.cf", MASTER % self.port + master)
        for key, text in (files or {}).items():
            self.write(key, text)

    def write(self, name, text):
        with open(os.path.join(self.conf, name), "w", encoding="utf-8") as out:
            out.write(text)

    def start(self, env=None, seconds=20):
        """Starts; seconds until the greeting came."""
        begin = time.monotonic()
        self.process = subprocess.Popen([self.binary, "-c", self.conf, "start-fg"], stdin=subprocess.DEVNULL,
                                        env=dict(os.environ, **(env or {})), start_new_session=True)

        def greeting():
            if self.process.poll() is not None:
                raise AssertionError("ended at start, exit status %d" % self.process.returncode)
            try:
                with socket.create_connection(("127.0.0.1", self.port), 1) as sock:
                    sock.settimeout(5)
                    return sock.recv(4) == b"220 "
            except OSError:
                return False
        wait_until(greeting, seconds, "the greeting", 0.005)
        return time.monotonic() - begin

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(10)
        return self.process.returncode if self.process else None

    def kill(self):
        """SIGKILL for every process of it at once."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def command(self, *args, check=True, **more):
        done = subprocess.run([self.binary, "-c", self.conf, *args], capture_output=True, text=True, timeout=60, **more)
        if check and done.returncode != 0:
            raise AssertionError("millrace %s: exit status %d\n%s%s" % (" ".join(args), done.returncode, done.stdout, done.stderr))
        return done

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()
