#!/usr/bin/python3
"""The SPF policy daemon against Debian's policyd-spf-python: same zone, same name server, same configuration, 20
connections, in turns; and its memory over a million requests.

    policyd.py --build build/release [--rounds 3] [--requests 200000] [--memory 1000000]

Targets: 25 times the requests a second, a fortieth of the CPU for each, no growth.
"""
import argparse
import os
import statistics
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
sys.path.insert(0, os.path.join(ROOT, "tests", "interop"))
from policyd import Policyd  # noqa: E402
from policyd_spf import ZONE, program  # noqa: E402

CONNECTIONS = 20


def rss_kib(pid):
    with open("/proc/%d/status" % pid, encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def load(build, requests, *where):
    done = subprocess.run([build + "/tests/bench/policy_load", str(CONNECTIONS), str(requests), *where],
                          stdout=subprocess.PIPE, text=True, check=True, timeout=900)
    rate, cpu, answer = done.stdout.split(" ", 2)
    return float(rate), float(cpu), answer.strip()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=200_000)
    parser.add_argument("--their-requests", type=int, default=4_000)
    parser.add_argument("--memory", type=int, default=1_000_000)
    args = parser.parse_args()
    build = os.path.abspath(args.build)
    ours = Policyd(build + "/millrace", ZONE, config="debugLevel = 0\n")
    script = ours.work + "/theirs.py"
    with open(script, "w", encoding="ascii") as file:
        file.write(program(ours.dns.port, ours.config))
    pid = ours.process.pid
    mine, yours = [], []
    for _ in range(args.rounds):
        mine.append(load(build, args.requests, "unix:" + ours.socket, str(pid)))
        yours.append(load(build, args.their_requests, "exec", "/usr/bin/python3", "-W", "ignore", script))
    assert mine[0][2].split(" ", 1)[1] == yours[0][2].split(" ", 1)[1] or mine[0][2].lower().strip() == yours[0][2].lower().strip(), (mine[0][2], yours[0][2])
    middle = [[statistics.median(one[i] for one in side) for i in (0, 1)] for side in (mine, yours)]
    print("millrace     %9.0f requests/s  %8.2f us CPU each" % tuple(middle[0]))
    print("policyd-spf  %9.0f requests/s  %8.2f us CPU each" % tuple(middle[1]))
    rate, cpu = middle[0][0] / middle[1][0], middle[1][1] / middle[0][1]
    print("ratio        %9.1f (target 25)     %8.1f (target 40)" % (rate, cpu))
    before = rss_kib(pid)
    if args.memory:
        load(build, args.memory, "unix:" + ours.socket, str(pid))
        grown = rss_kib(pid) - before
        print("memory over %d requests: %d KiB, then %d KiB more" % (args.memory, before, grown))
    else:
        grown = 0
    ours.stop()
    sys.exit(0 if rate >= 25 and cpu >= 40 and grown < 512 else 1)


if __name__ == "__main__":
    main()
