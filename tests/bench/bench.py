#!/usr/bin/python3
"""The benchmark: Millrace beside Debian's Postfix 3.7, the same job, interleaved, fsync on.

    bench.py [--millrace build/release/millrace] [--tools build/release/tests/bench] [--rounds 7] [--json FILE] [SCENARIO ...]

smtp-source sends to the server, the server relays to the counting sink.  For each scenario the rounds
alternate between the servers; medians and the ratio Millrace : Postfix are printed.  Needs root, Debian's
postfix package (no daemon of it running) and loopback only.  Machines are noisy: read the ratios.
"""
import argparse
import json
import mmap
import os
import resource
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time

PORTS = {"millrace": 20125, "postfix": 20225, "sink": 20325, "milter": 20425}
TUNED = """
in_flow_delay = 0
default_process_limit = 200
smtp_destination_concurrency_limit = 50
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]:%d
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
""" % PORTS["sink"]
MASTER = """
127.0.0.1:%d inet n - n - - smtpd
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


def descendants(root):
    """Process ids of the tree below root, root included."""
    parents = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open("/proc/%s/stat" % name, encoding="ascii", errors="replace") as stat:
                    parents[int(name)] = int(stat.read().rsplit(")", 1)[1].split()[1])
            except OSError:
                pass
    tree, grown = {root}, True
    while grown:
        new = {p for p, parent in parents.items() if parent in tree} - tree
        tree |= new
        grown = bool(new)
    return tree


def cpu_seconds(root):
    """User and system time of the tree, of its dead children too."""
    ticks = 0
    for pid in descendants(root):
        try:
            with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as stat:
                ticks += sum(int(x) for x in stat.read().rsplit(")", 1)[1].split()[11:15])
        except OSError:
            pass
    return ticks / os.sysconf("SC_CLK_TCK")


def rss_anon_kib(root):
    total = 0
    for pid in descendants(root):
        try:
            with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as status:
                total += sum(int(l.split()[1]) for l in status if l.startswith("RssAnon"))
        except OSError:
            pass
    return total


def flushes(path):
    """Completed flush requests of the device that holds PATH (None when the kernel does not say)."""
    device = os.stat(path).st_dev
    try:
        with open("/proc/diskstats", encoding="ascii") as stats:
            for line in stats:
                words = line.split()
                if (int(words[0]), int(words[1])) == (os.major(device), os.minor(device)) and len(words) >= 20:
                    return int(words[18])
    except OSError:
        pass
    return None


class Sink:
    def __init__(self, tools, work):
        path = os.path.join(work, "counter")
        self.process = subprocess.Popen([os.path.join(tools, "bench_sink"), str(PORTS["sink"]), path])
        wait_port(PORTS["sink"])
        self.map = mmap.mmap(os.open(path, os.O_RDWR), 16)

    def count(self):
        return struct.unpack("<Q", self.map[:8])[0]


def wait_port(port, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    sys.exit("nothing listens on port %d" % port)


class Server:
    """One of the two, with a configuration directory and a queue of its own."""
    def __init__(self, kind, binary, work, extra=""):
        self.kind, self.binary, self.port = kind, binary, PORTS[kind]
        self.conf = os.path.join(work, kind)
        for name in ("", "queue", "data"):
            os.makedirs(os.path.join(self.conf, name), exist_ok=True)
        shutil.chown(os.path.join(self.conf, "data"), "postfix")
        self.queue = os.path.join(self.conf, "queue")
        main = """compatibility_level = 3.6
myhostname = mx.mill.example
mydestination =
local_recipient_maps =
alias_maps =
alias_database =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relay_domains = dest.example
relayhost = [127.0.0.1]:%d
relay_transport = relay:[127.0.0.1]:%d
mail_owner = postfix
queue_directory = %s
data_directory = %s/data
maillog_file = %s/maillog
maillog_file_prefixes = %s
message_size_limit = 104857600
smtp_tls_security_level = none
""" % (PORTS["sink"], PORTS["sink"], self.queue, self.conf, self.conf, work) + TUNED + extra
        with open(os.path.join(self.conf, "main.cf"), "w", encoding="ascii") as out:
            out.write(main)
        with open(os.path.join(self.conf, "master.cf"), "w", encoding="ascii") as out:
            out.write(MASTER % self.port)
        self.process = None

    def start(self):
        command = ["/usr/sbin/postfix", "-c", self.conf, "start-fg"] if self.kind == "postfix" else \
            [self.binary, "-c", self.conf, "start-fg"]
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        wait_port(self.port)
        time.sleep(0.5)

    def stop(self):
        if self.kind == "postfix":
            subprocess.run(["/usr/sbin/postfix", "-c", self.conf, "stop"], check=False, capture_output=True)
        else:
            self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def relay_round(server, sink, count, sessions, length, reuse, deliver=True):
    """One run of smtp-source; messages/s over the whole way, CPU seconds and flushes per message."""
    before, cpu, synced = sink.count(), cpu_seconds(server.process.pid), flushes(server.queue)
    start = time.monotonic()
    command = ["smtp-source", "-s", str(sessions), "-m", str(count), "-l", str(length), "-f", "a@sender.example",
               "-t", "b@dest.example"] + (["-d"] if reuse else []) + ["127.0.0.1:%d" % server.port]
    subprocess.run(command, check=True, timeout=600)
    accepted = time.monotonic() - start
    end = time.monotonic() + 300
    while deliver and sink.count() - before < count and time.monotonic() < end:
        time.sleep(0.002)
    elapsed = time.monotonic() - start
    if deliver and sink.count() - before < count:
        sys.exit("%s: only %d of %d messages arrived" % (server.kind, sink.count() - before, count))
    time.sleep(0.3)
    return {**({"delivered/s": count / elapsed} if deliver else {}), "accepted/s": count / accepted,
            "cpu us/message": (cpu_seconds(server.process.pid) - cpu) / count * 1e6,
            "syncs/message": (flushes(server.queue) - synced) / count if synced is not None else float("nan"),
            "RssAnon KiB": rss_anon_kib(server.process.pid)}


def idle_round(server, count):
    """RssAnon per session of COUNT sessions that said EHLO and are silent."""
    before = rss_anon_kib(server.process.pid)
    held = []
    for i in range(count):
        sock = socket.socket()
        sock.bind(("127.0.0.%d" % (1 + i % 200), 0))
        sock.settimeout(20)
        sock.connect(("127.0.0.1", server.port))
        sock.recv(512)
        sock.sendall(b"EHLO idle.example\r\n")
        sock.recv(1024)
        held.append(sock)
    time.sleep(2)
    grown = rss_anon_kib(server.process.pid) - before
    for sock in held:
        sock.close()
    time.sleep(1)
    return {"KiB/session": grown / count}


def large_round(server, sink, megabytes):
    """How much RssAnon one large message adds at its peak."""
    base = rss_anon_kib(server.process.pid)
    before = sink.count()
    source = subprocess.Popen(["smtp-source", "-m", "1", "-l", str(megabytes * 1000000), "-f", "a@sender.example",
                               "-t", "b@dest.example", "127.0.0.1:%d" % server.port])
    peak = base
    while sink.count() == before:
        peak = max(peak, rss_anon_kib(server.process.pid))
        time.sleep(0.005)
    source.wait()
    return {"added KiB": peak - base}


RELAY = {   # messages for Millrace, for Postfix (which is slower), sessions, size, reuse connections
    "connection": (8000, 2000, 20, 5000, False),
    "reuse": (20000, 3000, 20, 5000, True),
    "100k": (2000, 500, 20, 100000, True),
    "1m": (200, 60, 10, 1000000, True),
    "accept": (20000, 3000, 20, 5000, True),
}


def show(name, rows):
    print("\n%s" % name)
    keys = list(next(iter(rows.values()))[0])
    for key in keys:
        medians = {kind: statistics.median(r[key] for r in rounds) for kind, rounds in rows.items()}
        line = "  %-18s" % key + "".join("  %s %10.2f" % item for item in medians.items())
        if len(medians) == 2 and medians["postfix"]:
            line += "   ratio %.2f" % (medians["millrace"] / medians["postfix"])
        print(line, flush=True)
    return {k: {kind: [r[k] for r in rounds] for kind, rounds in rows.items()} for k in keys}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["millrace", "postfix"], help="one server alone, no ratio")
    parser.add_argument("--json")
    parser.add_argument("scenario", nargs="*", help="%s idle large milters1 milters3" % " ".join(RELAY))
    args = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    names = args.scenario or list(RELAY) + ["idle", "large", "milters1", "milters3"]
    work = tempfile.mkdtemp(prefix="bench.", dir=os.environ.get("TMPDIR", "/tmp"))
    os.chmod(work, 0o755)
    kinds = [args.only] if args.only else ["millrace", "postfix"]
    sink, results, extra_processes = Sink(args.tools, work), {}, []

    def servers(extra):
        out = {}
        for kind in kinds:
            out[kind] = Server(kind, os.path.abspath(args.millrace), work, extra)
            out[kind].start()
        return out

    running = servers("")
    try:
        for name in names:
            rows = {kind: [] for kind in kinds}
            special = name == "accept" or name.startswith("milters")
            if special:
                for server in running.values():
                    server.stop()
            if name == "accept":    # everything goes to the hold queue: no delivery in the figure
                running = servers("smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks, reject\n")
            elif special:
                count = int(name[7:])
                for i in range(count):
                    extra_processes.append(subprocess.Popen(
                        [os.path.join(args.tools, "noop_milter"), "inet:%d@127.0.0.1" % (PORTS["milter"] + i)]))
                    wait_port(PORTS["milter"] + i)
                running = servers("smtpd_milters = %s\n" % " ".join(
                    "inet:127.0.0.1:%d" % (PORTS["milter"] + i) for i in range(count)))
            for _ in range(args.rounds):
                for kind, server in running.items():
                    if name in RELAY or name.startswith("milters"):
                        own, other, sessions, length, reuse = RELAY.get(name, (3000, 1000, 20, 5000, True))
                        rows[kind].append(relay_round(server, sink, own if kind == "millrace" else other,
                                                      sessions, length, reuse, name != "accept"))
                    elif name == "idle":
                        rows[kind].append(idle_round(server, 5000 if kind == "millrace" else 100))
                    elif name == "large":
                        rows[kind].append(large_round(server, sink, 50))
                if name in ("idle", "large") and len(rows[kinds[0]]) >= min(3, args.rounds):
                    break
            results[name] = show(name, rows)
            for process in extra_processes:
                process.terminate()
            extra_processes.clear()
            if special:
                for server in running.values():
                    server.stop()
                running = servers("")
    finally:
        for server in running.values():
            server.stop()
        sink.process.terminate()
        for process in extra_processes:
            process.terminate()
        shutil.rmtree(work, ignore_errors=True)     # with what `accept` left on hold
    if args.json:
        with open(args.json, "w", encoding="ascii") as out:
            json.dump(results, out, indent=1)


if __name__ == "__main__":
    main()
