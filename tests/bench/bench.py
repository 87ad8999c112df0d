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

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import postfix  # noqa: E402

PORTS = {"millrace": 20125, "postfix": 20225, "sink": 20325}
TUNED = """
in_flow_delay = 0
default_process_limit = 200
smtp_destination_concurrency_limit = 50
initial_destination_concurrency = 20
smtp_connection_cache_destinations = [127.0.0.1]:%d
smtpd_peername_lookup = no
smtpd_client_connection_count_limit = 0
""" % PORTS["sink"]


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


def wait_port(port, seconds=20, process=None):
    end = time.monotonic() + seconds
    while time.monotonic() < end and (process is None or process.poll() is None):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("nothing listens on port %d" % port)


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
            out.write(postfix.MASTER % self.port)
        self.process = None

    def start(self):
        command = ["/usr/sbin/postfix", "-c", self.conf, "start-fg"] if self.kind == "postfix" else \
            [self.binary, "-c", self.conf, "start-fg"]
        # Its processes must not keep a pipe of ours open: who reads this program's output would wait for them.
        with open(os.path.join(self.conf, "output"), "ab") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                                            close_fds=True)
        try:
            wait_port(self.port, process=self.process)
        except RuntimeError as why:
            raise RuntimeError("%s: %s\n%s" % (self.kind, why, self.last_words())) from None
        time.sleep(0.5)

    def last_words(self):
        text = ""
        for name in ("output", "maillog"):
            try:
                with open(os.path.join(self.conf, name), encoding="utf-8", errors="replace") as log:
                    text += "".join(log.readlines()[-10:])
            except OSError:
                pass
        return text

    def stop(self):
        """Never fails and never waits for long, so that what comes after it is cleaned up too."""
        if self.process is None:
            return
        tree = descendants(self.process.pid)
        if self.process.poll() is None:
            if self.kind == "postfix":
                subprocess.run(["/usr/sbin/postfix", "-c", self.conf, "stop"], check=False, timeout=60,
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            else:
                self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                print("%s did not stop within 30 s: killed" % self.kind, file=sys.stderr)
                for pid in tree:
                    try:
                        os.kill(pid, signal.SIGKILL)
                    except ProcessLookupError:
                        pass
                self.process.wait()
        self.process = None

    def forget_mail(self):
        """Between scenarios: what one left in the queue is no burden of the next."""
        for name in os.listdir(self.queue):
            path = os.path.join(self.queue, name)
            shutil.rmtree(path, ignore_errors=True) if os.path.isdir(path) else os.unlink(path)


def run_source(server, command, seconds=300):
    """smtp-source ends at the first refusal, and waits for ever for a server that says nothing."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired:
        raise RuntimeError("%s: smtp-source not done after %d s\n%s" % (server.kind, seconds, server.last_words())) from None
    if done.returncode != 0:
        raise RuntimeError("%s: smtp-source: %s\n%s" % (server.kind, done.stderr.decode(errors="replace").strip(),
                                                        server.last_words()))


def relay_round(server, sink, count, sessions, length, reuse, deliver=True):
    """One run of smtp-source; messages/s over the whole way, CPU seconds and flushes per message."""
    before, cpu, synced = sink.count(), cpu_seconds(server.process.pid), flushes(server.queue)
    start = time.monotonic()
    command = ["smtp-source", "-s", str(sessions), "-m", str(count), "-l", str(length), "-f", "a@sender.example",
               "-t", "b@dest.example"] + (["-d"] if reuse else []) + ["127.0.0.1:%d" % server.port]
    run_source(server, command)
    accepted = time.monotonic() - start
    end = time.monotonic() + 120
    while deliver and sink.count() - before < count and time.monotonic() < end:
        time.sleep(0.002)
    elapsed = time.monotonic() - start
    if deliver and sink.count() - before < count:
        raise RuntimeError("%s: only %d of %d messages arrived\n%s" % (server.kind, sink.count() - before, count,
                                                                       server.last_words()))
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
                               "-t", "b@dest.example", "127.0.0.1:%d" % server.port], stdin=subprocess.DEVNULL)
    peak, end = base, time.monotonic() + 120
    while sink.count() == before:
        peak = max(peak, rss_anon_kib(server.process.pid))
        if time.monotonic() > end:
            source.kill()
            raise RuntimeError("%s: the large message did not arrive\n%s" % (server.kind, server.last_words()))
        time.sleep(0.005)
    source.wait(60)
    return {"added KiB": peak - base}


RELAY = {   # messages for Millrace, for Postfix (which is slower), sessions, size, reuse connections
    "connection": (8000, 2000, 20, 5000, False),
    "reuse": (20000, 3000, 20, 5000, True),
    "100k": (2000, 500, 20, 100000, True),
    "1m": (200, 60, 10, 1000000, True),
    "accept": (20000, 3000, 20, 5000, True),
    "peername": (8000, 2000, 20, 5000, False),
    "lone": (1000, 500, 1, 5000, True),
    "lone3": (1000, 500, 1, 5000, True),
    "milters1": (3000, 1000, 20, 5000, True),
    "milters3": (3000, 1000, 20, 5000, True),
}
NAMES = ["connection", "reuse", "100k", "1m", "accept", "idle", "large", "milters1", "milters3", "peername", "lone", "lone3"]


def milters_of(name):
    """How many no-op milters a scenario has."""
    return int(name[-1]) if name.startswith("milters") or name == "lone3" else 0


def settings(name, work):
    """What a scenario adds to main.cf (the last value of a parameter counts)."""
    if name == "accept":    # everything goes to the hold queue: no delivery in the figure
        return "smtpd_recipient_restrictions = check_recipient_access static:HOLD, permit_mynetworks, reject\n"
    if name == "idle":      # a session is a process there: both have the same cap
        return "default_process_limit = 6000\n"
    if name == "peername":
        return "smtpd_peername_lookup = yes\n"
    if milters_of(name):
        return "smtpd_milters = %s\n" % " ".join("unix:%s/milter%d" % (work, i) for i in range(milters_of(name)))
    return ""


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


class Bench:
    """The servers, the sink and the milters of a run; close() leaves nothing behind."""
    def __init__(self, args, work):
        self.args, self.work = args, work
        self.kinds = [args.only] if args.only else ["millrace", "postfix"]
        self.sink = Sink(args.tools, work)
        self.milters, self.running, self.setting = [], {}, None

    def prepare(self, name):
        setting = settings(name, self.work)
        if setting == self.setting and name != "accept":
            return
        self.stop_servers()
        for i in range(milters_of(name)):
            path = os.path.join(self.work, "milter%d" % i)
            if os.path.exists(path):
                os.unlink(path)
            self.milters.append(subprocess.Popen([os.path.join(self.args.tools, "noop_milter"), "unix:" + path], stdin=subprocess.DEVNULL))
            end = time.monotonic() + 10
            while not os.path.exists(path) and time.monotonic() < end:
                time.sleep(0.01)
            os.chmod(path, 0o777)
        self.setting = setting
        for kind in self.kinds:
            self.running[kind] = Server(kind, os.path.abspath(self.args.millrace), self.work, setting)
            self.running[kind].start()

    def stop_servers(self):
        for server in self.running.values():
            server.stop()
            server.forget_mail()
        self.running, self.setting = {}, None
        for process in self.milters:
            process.terminate()
            process.wait()
        self.milters.clear()

    def round(self, name, kind):
        server = self.running[kind]
        if name == "idle":
            return idle_round(server, 5000 if kind == "millrace" else 100)
        if name == "large":
            return large_round(server, self.sink, 50)
        own, other, sessions, length, reuse = RELAY[name]
        return relay_round(server, self.sink, own if kind == "millrace" else other, sessions, length, reuse, name != "accept")

    def close(self):
        self.stop_servers()
        self.sink.process.terminate()
        shutil.rmtree(self.work, ignore_errors=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", choices=["millrace", "postfix"], help="one server alone, no ratio")
    parser.add_argument("--json")
    parser.add_argument("scenario", nargs="*", help=" ".join(NAMES))
    args = parser.parse_args()
    unknown = [name for name in args.scenario if name not in NAMES]
    if unknown:
        parser.error("unknown scenario: %s" % " ".join(unknown))
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))     # so that close() runs
    work = tempfile.mkdtemp(prefix="bench.", dir=os.environ.get("TMPDIR", "/tmp"))
    os.chmod(work, 0o755)
    bench, results, status = Bench(args, work), {}, 0
    try:
        for name in args.scenario or NAMES:
            rows = {kind: [] for kind in bench.kinds}
            try:
                bench.prepare(name)
                for _ in range(min(args.rounds, 3) if name in ("idle", "large") else args.rounds):
                    for kind in bench.kinds:
                        rows[kind].append(bench.round(name, kind))
            except (RuntimeError, OSError) as why:   # the others are still worth their figures
                print("\n%s: FAILED: %s" % (name, why), flush=True)
                bench.stop_servers()
                status = 1
                continue
            results[name] = show(name, rows)
            if name == "lone3" and "lone" in results:   # one session, so a message's time is one over the rate
                spent = {kind: 1000 / statistics.median(results["lone3"]["accepted/s"][kind])
                         - 1000 / statistics.median(results["lone"]["accepted/s"][kind]) for kind in bench.kinds}
                print("  3 milters add       " + "  ".join("%s %.2f ms" % item for item in spent.items())
                      + ("   ratio %.2f" % (spent["millrace"] / spent["postfix"]) if len(spent) == 2 else ""), flush=True)
    finally:
        bench.close()
    if args.json:
        with open(args.json, "w", encoding="ascii") as out:
            json.dump(results, out, indent=1)
    return status


if __name__ == "__main__":
    sys.exit(main())
