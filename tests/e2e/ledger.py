#!/usr/bin/python3
"""The crash ledger: whatever was acknowledged is delivered, over kills and over copies of the disk.

    ledger.py --millrace BIN --tools DIR [--kills 25] [--copies 12] [--sabotage LIB]

kills: SIGKILL of all processes under load, restart, and so on; in the end every message that got a 250
must have reached the counting sink.  copies: the queue lies on a file system of its own in a loop device;
the backing file is cloned (reflink) right after a lone 250 and at random moments under load; each copy is
mounted and served, and what was acknowledged before the copy must come out of it.
--sabotage preloads a library whose fsync does nothing: then the copies must show a loss, or the test
proves nothing; exit status 0 when they do.
Exit status 77 (skipped) where there are no loop devices or no root.
"""
import argparse
import fcntl
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from instance import Instance, free_port, listening, wait_until  # noqa: E402

FICLONE = 0x40049409


class Sink:
    def __init__(self, tools, work):
        self.port, self.ledger = free_port(), os.path.join(work, "ledger")
        self.process = subprocess.Popen([os.path.join(tools, "bench_sink"), str(self.port),
                                         os.path.join(work, "counter"), self.ledger])
        wait_until(lambda: listening(self.port), 10, "the sink")

    def delivered(self):
        if not os.path.exists(self.ledger):
            return []
        with open(self.ledger, encoding="ascii") as lines:
            return lines.read().split()


class Clients:
    """Senders that keep a ledger: an entry is acknowledged when its 250 was read."""
    def __init__(self, port, count=6):
        self.port, self.acknowledged, self.lock = port, set(), threading.Lock()
        self.serial, self.running = 0, False
        self.threads = [threading.Thread(target=self.work, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def name(self):
        with self.lock:
            self.serial += 1
            return "m%d" % self.serial

    def work(self):
        while True:
            if not self.running:
                time.sleep(0.005)
                continue
            try:
                with socket.create_connection(("127.0.0.1", self.port), 2) as sock:
                    stream = sock.makefile("rwb")
                    stream.readline()
                    while self.running:
                        self.send(stream, self.name())
            except (OSError, ValueError):
                time.sleep(0.01)

    def send(self, stream, name):
        size = random.choice([200, 3000, 3000, 60000, 200000])    # inline and side files
        for command in ("HELO client.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>", "DATA"):
            stream.write(command.encode() + b"\r\n")
            stream.flush()
            if not stream.readline()[:1] in b"23":
                raise ValueError("refused")
        stream.write(b"X-Ledger: %s\r\nSubject: ledger\r\n\r\n" % name.encode() + (b"x" * 70 + b"\r\n") * (size // 72)
                     + b".\r\n")
        stream.flush()
        if stream.readline()[:3] == b"250":
            with self.lock:
                self.acknowledged.add(name)

    def snapshot(self):
        with self.lock:
            return set(self.acknowledged)


def report(what, wanted, sink):
    """Waits until all of WANTED was delivered; the missing ones."""
    wanted, last, since = set(wanted), -1, time.monotonic()
    while True:
        got = sink.delivered()
        missing = wanted - set(got)
        if len(got) != last:
            last, since = len(got), time.monotonic()
        if not missing or time.monotonic() - since > 20:
            break
        time.sleep(0.1)
    print("%s: %d acknowledged, %d deliveries, %d missing" % (what, len(wanted), len(got), len(missing)), flush=True)
    return missing


def kills(args, work):
    sink = Sink(args.tools, work)
    server = Instance(args.millrace, work, "relayhost = [127.0.0.1]:%d\nrelay_transport = relay:[127.0.0.1]:%d\n"
                      "smtp_tls_security_level = none\nsmtpd_peername_lookup = no\n" % (sink.port, sink.port))
    clients, slowest = Clients(server.port), 0.0
    for _ in range(args.kills):
        slowest = max(slowest, server.start())
        clients.running = True
        time.sleep(random.uniform(0.2, 0.9))
        server.kill()
        clients.running = False
    print("kills: %d rounds, slowest start to greeting %.3f s" % (args.kills, slowest), flush=True)
    time.sleep(0.3)
    slowest = max(slowest, server.start())
    server.command("queue", "-f", check=False)
    missing = report("kills", clients.snapshot(), sink)
    server.stop()
    sink.process.terminate()
    if slowest > 2.0:
        print("recovery took %.3f s" % slowest)
        return False
    return not missing


def shell(*command):
    subprocess.run(command, check=True, capture_output=True)


class Disk:
    """An ext4 in a file on an XFS in a file: the inner one can be cloned in a millisecond."""
    def __init__(self, work):
        self.outer, self.inner = os.path.join(work, "outer"), os.path.join(work, "disk")
        os.makedirs(self.outer)
        os.makedirs(self.inner)
        image = os.path.join(work, "outer.img")
        shell("truncate", "-s", "3G", image)
        shell("mkfs.xfs", "-q", "-m", "reflink=1", image)
        shell("mount", "-o", "loop", image, self.outer)
        self.image = os.path.join(self.outer, "disk.img")
        shell("truncate", "-s", "600M", self.image)
        shell("mkfs.ext4", "-q", self.image)
        shell("mount", "-o", "loop,commit=60", self.image, self.inner)
        self.source = os.open(self.image, os.O_RDONLY)

    def clone(self, name):
        path = os.path.join(self.outer, name)
        target = os.open(path, os.O_RDWR | os.O_CREAT)
        fcntl.ioctl(target, FICLONE, self.source)
        os.close(target)
        return path

    def close(self):
        os.close(self.source)
        for path in (self.inner, self.outer):
            subprocess.run(["umount", "-l", path], check=False)


def lone_message(server, name):
    with socket.create_connection(("127.0.0.1", server.port), 5) as sock:
        stream = sock.makefile("rwb")
        stream.readline()
        keeper = Clients.__new__(Clients)
        keeper.acknowledged, keeper.lock = set(), threading.Lock()
        keeper.send(stream, name)
        return name in keeper.acknowledged


def copies(args, work):
    disk = Disk(work)
    try:
        dead = free_port()      # nobody listens there: everything stays in the queue
        server = Instance(args.millrace, work, "relayhost = [127.0.0.1]:%d\nrelay_transport = relay:[127.0.0.1]:%d\n"
                          "smtpd_peername_lookup = no\n" % (dead, dead), queue=os.path.join(disk.inner, "queue"))
        server.start(env={"LD_PRELOAD": args.sabotage} if args.sabotage else None)
        taken, lone = [], set()
        for i in range(args.copies):
            name = "lone%d" % i
            if lone_message(server, name):
                lone.add(name)
                taken.append((disk.clone("lone%d.img" % i), set(lone)))
            time.sleep(random.uniform(0, 0.3))
        clients = Clients(server.port)
        clients.running = True
        for i in range(args.copies // 2):
            time.sleep(random.uniform(0.05, 0.5))
            acknowledged = clients.snapshot()
            taken.append((disk.clone("load%d.img" % i), lone | acknowledged))
        clients.running = False
        server.stop()
        lost = 0
        for image, wanted in taken:
            lost += len(serve_copy(args, work, image, wanted))
            if args.sabotage and lost:
                break
        print("copies: %d taken, %d messages lost" % (len(taken), lost))
        return lost > 0 if args.sabotage else lost == 0
    finally:
        disk.close()


def serve_copy(args, work, image, wanted):
    where = tempfile.mkdtemp(dir=work)
    os.chmod(where, 0o755)
    mounted = os.path.join(where, "mnt")
    os.makedirs(mounted)
    shell("mount", "-o", "loop", image, mounted)
    sink = Sink(args.tools, where)
    server = None
    try:
        server = Instance(args.millrace, where, "relayhost = [127.0.0.1]:%d\nrelay_transport = relay:[127.0.0.1]:%d\n"
                          % (sink.port, sink.port), queue=os.path.join(mounted, "queue"))
        server.start()
        server.command("queue", "-f", check=False)     # in the copy everything waits for a later attempt
        return report(os.path.basename(image), wanted, sink)
    except (AssertionError, subprocess.TimeoutExpired) as err:   # a store that was lost may not come up at all
        print("%s: %s" % (os.path.basename(image), err))
        return wanted
    finally:
        if server:
            server.stop()
        sink.process.terminate()
        shell("umount", "-l", mounted)
        os.unlink(image)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--copies", type=int, default=12)
    parser.add_argument("--sabotage")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    args = parser.parse_args()
    random.seed(args.seed)
    print("seed %d" % args.seed)
    work = tempfile.mkdtemp(prefix="ledger.")
    os.chmod(work, 0o755)
    good = True
    try:
        if args.kills and not args.sabotage:
            os.makedirs(os.path.join(work, "k"))
            good = kills(args, os.path.join(work, "k"))
        if args.copies:
            if os.geteuid() != 0 or not os.path.exists("/dev/loop-control") or not shutil.which("mkfs.xfs"):
                print("copies: skipped, needs root, loop devices and mkfs.xfs")
                sys.exit(77 if good else 1)
            good = copies(args, work) and good
    finally:
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
