#!/usr/bin/python3
"""What a long queue costs: a million deferred messages, and one message to 50,000 recipients.

    backlog.py [--millrace build/release/millrace] [--tools build/release/tests/bench] [--messages 1000000] [--rounds 3]
               [--recipients 50000] [million|list ...]

million: RssAnon per deferred message, start to first delivery, mailq to its first line, and the rate of new mail
beside and without the backlog, in turn.  list: a message to many recipients at a slow next hop, and single
messages to the same next hop and to another one meanwhile.  Each figure is printed beside its target; the exit
status says whether all were met.  Loopback only; needs nothing but a free port or two.
"""
import argparse
import os
import pwd
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
from case import Client  # noqa: E402
from instance import Instance, mail_owner, wait_until  # noqa: E402
from next_hop import NextHop  # noqa: E402

MISSED = []
RUNNING = []


def report(name, value, unit, target=None):
    bad = target is not None and value > target
    print("%-56s %10.2f %-8s%s%s" % (name, value, unit, "" if target is None else " target %g" % target, "  MISSED" if bad else ""),
          flush=True)
    if bad:
        MISSED.append(name)


def anonymous(instance):
    """RssAnon of the queue process, in bytes: the child of the master that has the store's lock open."""
    found = []
    for pid in os.listdir("/proc"):
        try:
            with open("/proc/%s/status" % pid, encoding="ascii", errors="replace") as status:
                fields = dict(line.split(":", 1) for line in status.read().splitlines() if ":" in line)
            if fields["PPid"].strip() != str(instance.process.pid):
                continue
            names = [os.readlink("/proc/%s/fd/%s" % (pid, fd)) for fd in os.listdir("/proc/%s/fd" % pid)]
        except (OSError, KeyError):
            continue
        if any(name.endswith("queue.mdb") for name in names):
            found.append(int(fields["RssAnon"].split()[0]) * 1024)
    return found[0]


def send_many(port, count, sessions=20):
    """Messages per second, `count` of them over some sessions."""
    def work(share):
        client = Client(port)
        client.say("EHLO bench.example")
        for _ in range(share):
            client.send("MAIL FROM:<a@sender.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n")
            for _ in range(3):
                client.reply()
            client.send(b"Subject: new\r\n\r\n" + b"x" * 2000 + b"\r\n.\r\n")
            assert client.reply().startswith("250"), "not accepted"
        client.say("QUIT")
        client.close()
    threads = [threading.Thread(target=work, args=(count // sessions,)) for _ in range(sessions)]
    begin = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return count // sessions * sessions / (time.monotonic() - begin)


def instance_for(args, work, name, main, master=""):
    instance = Instance(args.millrace, work, "smtpd_peername_lookup = no\n" + main, name=name, master=master)
    RUNNING.append(instance)
    return instance


def fill(args, instance, count):
    store = os.path.join(instance.queue, "store")
    os.makedirs(store, exist_ok=True)
    subprocess.run([os.path.join(args.tools, "queue_filler"), store, str(count)], check=True)
    owner = pwd.getpwnam(mail_owner())
    for path, _, files in os.walk(store):
        os.chown(path, owner.pw_uid, owner.pw_gid)
        for name in files:
            os.chown(os.path.join(path, name), owner.pw_uid, owner.pw_gid)


def million(args, work):
    sink = NextHop()
    main = "relay_domains = dest.example\nrelay_transport = relay:[127.0.0.1]:%d\nin_flow_delay = 0\n" % sink.port
    # For rates the next hop is "discard": a sink in Python would be what is measured.
    idle = "relay_domains = dest.example\nrelay_transport = discard:\nin_flow_delay = 0\n"
    full, empty = instance_for(args, work, "full", main), instance_for(args, work, "empty", idle)
    print("filling ...", flush=True)
    fill(args, full, args.messages)
    empty.start()
    base = anonymous(empty)

    begin = time.monotonic()
    full.start(seconds=60)
    report("greeting after", time.monotonic() - begin, "s")
    client = Client(full.port)
    client.message(b"Subject: first\r\n\r\nx\r\n")
    sink.wait(1, 60)
    report("start to first delivery", time.monotonic() - begin, "s", 5)
    time.sleep(2)
    report("RssAnon per deferred message", (anonymous(full) - base) / args.messages, "B", 400)

    worst = []
    for _ in range(args.rounds):
        begin = time.monotonic()
        listing = subprocess.Popen([args.millrace, "-c", full.conf, "queue", "-p"], stdout=subprocess.PIPE)
        for _ in range(2):
            assert listing.stdout.readline(), "mailq ended"
        worst.append(time.monotonic() - begin)
        if len(worst) < args.rounds:
            listing.terminate()
            listing.communicate()
    report("mailq to its first message", max(worst), "s", 1)
    lines = sum(1 for _ in listing.stdout)
    listing.wait()
    report("mailq, all of it", time.monotonic() - begin, "s")
    assert lines >= args.messages, "mailq left messages out"
    full.stop()

    with open(os.path.join(full.conf, "main.cf"), encoding="utf-8") as conf:
        text = conf.read().replace("relay_transport = relay:[127.0.0.1]:%d" % sink.port, "relay_transport = discard:")
    full.write("main.cf", text)
    full.start(seconds=60)
    rates = {"full": [], "empty": []}
    send_many(empty.port, 2000)
    send_many(full.port, 2000)
    for _ in range(args.rounds):
        rates["empty"].append(send_many(empty.port, args.load))
        rates["full"].append(send_many(full.port, args.load))
    for name, values in rates.items():
        report("new mail, %s queue" % name, statistics.median(values), "/s")
    report("slower with the backlog by", (1 - statistics.median(rates["full"]) / statistics.median(rates["empty"])) * 100, "%", 20)

    begin = time.monotonic()
    full.command("queue", "-s", "dest.example")
    delays = []
    for _ in range(20):
        start = time.monotonic()
        client = Client(full.port)
        client.message(b"Subject: during\r\n\r\nx\r\n")
        client.close()
        delays.append(time.monotonic() - start)
    report("accepting during a flush by site, worst of 20", max(delays), "s")
    full.stop()
    empty.stop()
    sink.down()


def to_list(args, work):
    slow, other = NextHop(delay=0.5), NextHop()
    with open(os.path.join(work, "transport"), "w", encoding="utf-8") as out:
        out.write("slow.example smtp:[127.0.0.1]:%d\nother.example smtp:[127.0.0.1]:%d\n" % (slow.port, other.port))
    instance = instance_for(args, work, "list", "relay_domains = slow.example other.example\nsmtpd_recipient_limit = 200000\n"
                            "transport_maps = texthash:%s/transport\nin_flow_delay = 0\n" % work)
    instance.start()
    begin = time.monotonic()
    client = Client(instance.port, seconds=300)
    client.say("EHLO bench.example")
    client.say("MAIL FROM:<list@sender.example>")
    for start in range(0, args.recipients, 500):
        block = range(start, min(start + 500, args.recipients))
        client.send("".join("RCPT TO:<user%d@slow.example>\r\n" % n for n in block))
        for _ in block:
            assert client.reply().startswith("250"), "recipient refused"
    client.say("DATA")
    client.send(b"Subject: list\r\n\r\n" + b"x" * 1000 + b"\r\n.\r\n")
    reply = client.reply()
    assert reply.startswith("250"), reply
    client.close()
    report("accepting %d recipients" % args.recipients, time.monotonic() - begin, "s")

    delays = {"other.example": [], "slow.example": []}
    for number in range(args.singles):
        for domain, hop in (("other.example", other), ("slow.example", slow)):
            name = "single%d@%s" % (number, domain)
            start = time.monotonic()
            client = Client(instance.port)
            client.message(b"Subject: single\r\n\r\nx\r\n", recipients=("<%s>" % name,))
            client.close()
            wait_until(lambda: any(name in m.recipients[0] for m in list(hop.messages)), 60, name)
            delays[domain].append(time.monotonic() - start)
        time.sleep(0.5)
    report("single message elsewhere, worst of %d" % args.singles, max(delays["other.example"]), "s", 2)
    report("single message to the same next hop, worst of %d" % args.singles, max(delays["slow.example"]), "s", 2 + 0.5)
    report("RssAnon of the queue process", anonymous(instance) / 1e6, "MB")
    assert sum(len(m.recipients) for m in slow.messages) < args.recipients, "the list was gone before it was measured"
    instance.stop()
    slow.down()
    other.down()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--messages", type=int, default=1000000)
    parser.add_argument("--recipients", type=int, default=50000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--load", type=int, default=10000)
    parser.add_argument("--singles", type=int, default=10)
    parser.add_argument("scenario", nargs="*", default=["million", "list"])
    args = parser.parse_args()
    args.millrace = os.path.abspath(args.millrace)
    work = tempfile.mkdtemp(prefix="backlog.")
    os.chmod(work, 0o755)
    try:
        for name in args.scenario:
            {"million": million, "list": to_list}[name](args, work)
    finally:
        for instance in RUNNING:
            if instance.process and instance.process.poll() is None:
                instance.kill()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(1 if MISSED else 0)


if __name__ == "__main__":
    main()
