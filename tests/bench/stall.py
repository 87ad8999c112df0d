#!/usr/bin/python3
"""One milter with at most 20 connections that stalls 5 s on 1 % of the messages, 200 sessions at a time: what the other
messages feel of it.  Rounds with and without stalls alternate; fails when the p99 of the others more than doubles.

    stall.py [--millrace build/release/millrace] [--tools build/release/tests/bench] [--rounds 3] [--rate 100] [--seconds 15]

Each session is a connection with one message; they begin at the given rate in all (open loop), at most 200 are open.
"""
import argparse
import asyncio
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from instance import Instance, free_port, listening, wait_until  # noqa: E402

SESSIONS, EVERY, STALL = 200, 100, 5
BODY = b"line of the body, as long as lines are in letters of our time.\r\n" * 60


async def message(port, stalls):
    """Seconds from connect to the reply to the end of the message."""
    start = time.monotonic()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)

    async def reply():
        while True:
            line = await reader.readline()
            if line[3:4] != b"-":
                return line

    await reply()
    for line in (b"EHLO c.example", b"MAIL FROM:<a@sender.example>", b"RCPT TO:<b@dest.example>", b"DATA"):
        writer.write(line + b"\r\n")
        await reply()
    writer.write(b"Subject: s\r\n" + (b"X-Stall: %d\r\n" % STALL if stalls else b"") + b"\r\n" + BODY + b".\r\n")
    said = await reply()
    writer.close()
    if not said.startswith(b"250"):
        raise RuntimeError(said.decode())
    return time.monotonic() - start


async def round_of(port, rate, seconds, with_stalls):
    """Times of the messages that were not stalled themselves, and the most sessions that were open at once."""
    gate, open_now, most, times, tasks = asyncio.Semaphore(SESSIONS), 0, 0, [], []

    async def one(stalls):
        nonlocal open_now, most
        async with gate:
            open_now += 1
            most = max(most, open_now)
            took = await message(port, stalls)
            open_now -= 1
            if not stalls:
                times.append(took)

    begin = time.monotonic()
    for n in range(int(rate * seconds)):
        await asyncio.sleep(max(0.0, begin + n / rate - time.monotonic()))
        tasks.append(asyncio.create_task(one(with_stalls and n % EVERY == EVERY // 2)))
    await asyncio.gather(*tasks)
    times.sort()
    return times, most


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rate", type=float, default=100)
    parser.add_argument("--seconds", type=float, default=15)
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="stall.")
    os.chmod(work, 0o755)
    sink, path = free_port(), os.path.join(work, "milter.sock")
    peers = [subprocess.Popen([os.path.join(args.tools, "bench_sink"), str(sink), os.path.join(work, "counter")]),
             subprocess.Popen([os.path.join(args.tools, "noop_milter"), "unix:" + path])]
    server = Instance(args.millrace, work, """relayhost=[127.0.0.1]:%d
relay_transport=relay:[127.0.0.1]:%d
smtpd_milters={ unix:%s, max_connections=20 }
smtpd_client_connection_count_limit=0
smtpd_peername_lookup=no
""" % (sink, sink, path))
    p99 = {False: [], True: []}
    try:
        wait_until(lambda: os.path.exists(path) and listening(sink), 10, "the milter and the next hop")
        os.chmod(path, 0o777)
        server.start()
        asyncio.run(round_of(server.port, args.rate, 2, False))
        for _ in range(args.rounds):
            for stalls in (False, True):
                times, most = asyncio.run(round_of(server.port, args.rate, args.seconds, stalls))
                p99[stalls].append(times[int(len(times) * 0.99)])
                print("%-14s %d messages, median %.1f ms, p99 %.1f ms, most sessions %d" % (
                    "with stalls" if stalls else "without", len(times), statistics.median(times) * 1e3, p99[stalls][-1] * 1e3, most), flush=True)
    finally:
        server.stop()
        for peer in peers:
            peer.terminate()
            peer.wait()
        shutil.rmtree(work, ignore_errors=True)
    ratio = statistics.median(p99[True]) / statistics.median(p99[False])
    print("p99 with stalls : without = %.2f (target 2)" % ratio)
    return 0 if ratio <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
