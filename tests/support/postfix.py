"""A Postfix of a test's own: Debian's program with its own configuration, queue and log, on a free loopback port.
The other side of comparisons, and the owner of queues to take over."""
import os
import pwd
import shutil
import subprocess

from instance import free_port, listening, wait_until

MASTER = """127.0.0.1:%d inet n - n - - smtpd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
tlsmgr unix - - n 1000? 1 tlsmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
verify unix - - n - 1 verify
flush unix n - n 1000? 0 flush
proxymap unix - - n - - proxymap
smtp unix - - n - - smtp
relay unix - - n - - smtp
showq unix n - n - - showq
error unix - - n - - error
retry unix - - n - - error
discard unix - - n - - discard
anvil unix - - n - 1 anvil
scache unix - - n - 1 scache
postlog unix-dgram n - n - 1 postlogd
"""


def available():
    return os.geteuid() == 0 and shutil.which("postfix") is not None


class Postfix:
    def __init__(self, work, main, name="postfix"):
        self.directory = os.path.join(work, name)
        self.conf, self.queue = (os.path.join(self.directory, part) for part in ("conf", "queue"))
        self.log, self.port = os.path.join(self.directory, "maillog"), free_port()
        for part in ("conf", "queue", "data"):
            os.makedirs(os.path.join(self.directory, part))
        owner = pwd.getpwnam("postfix")
        os.chown(os.path.join(self.directory, "data"), owner.pw_uid, owner.pw_gid)
        base = {"compatibility_level": "3.6", "myhostname": "mx.mill.example", "mydestination": "",
                "local_recipient_maps": "", "inet_interfaces": "127.0.0.1", "inet_protocols": "ipv4",
                "mynetworks": "127.0.0.0/8", "relay_domains": "dest.example", "alias_maps": "",
                "queue_directory": self.queue, "data_directory": os.path.join(self.directory, "data"),
                "maillog_file": self.log, "maillog_file_prefixes": work, "smtpd_peername_lookup": "no"}
        for line in main.strip().splitlines():
            key, value = line.split("=", 1)
            base[key.strip()] = value.strip()
        with open(os.path.join(self.conf, "main.cf"), "w", encoding="utf-8") as out:
            out.write("".join("%s = %s\n" % item for item in base.items()))
        with open(os.path.join(self.conf, "master.cf"), "w", encoding="utf-8") as out:
            out.write(MASTER % self.port)

    def command(self, *words, check=True, **more):
        return subprocess.run([words[0], "-c", self.conf, *words[1:]], capture_output=True, timeout=60, check=check, **more)

    def start(self):
        # Its daemons keep our descriptors: none of them may be a pipe.
        subprocess.run(["postfix", "-c", self.conf, "start"], check=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
        wait_until(lambda: listening(self.port), 20, "postfix")

    def stop(self):
        subprocess.run(["postfix", "-c", self.conf, "stop"], check=False, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)

    def submit(self, content, *arguments):
        subprocess.run(["sendmail", "-C", self.conf, *arguments], input=content, check=True, timeout=60,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def log_text(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read()

    def queued(self):
        """The message files of its queue."""
        return [os.path.join(at, name) for part in ("incoming", "active", "deferred", "hold")
                for at, _, names in os.walk(os.path.join(self.queue, part)) for name in names]
