#!/usr/bin/python3
"""What ten plugins cost that are asked at every stage and say nothing: Millrace without and with them, in turns.

    plugins.py [--millrace build/release/millrace] [--tools build/release/tests/bench] [--rounds 7] [connection|reuse]

Target: less than 5 % of the messages a second.  Needs root and smtp-source, as bench.py does.
"""
import argparse
import os
import shutil
import statistics
import sys
import tempfile

import bench


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    parser.add_argument("--tools", default="build/release/tests/bench")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("scenario", nargs="?", default="reuse", choices=["connection", "reuse"])
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="bench.", dir=os.environ.get("TMPDIR", "/tmp"))
    os.chmod(work, 0o755)
    os.mkdir(work + "/plugins")
    for i in range(10):
        shutil.copy(args.tools + "/noop_plugin.so", work + "/plugins/noop%d.so" % i)
        os.chmod(work + "/plugins/noop%d.so" % i, 0o644)
    ten = "plugin_directory = %s/plugins\nsmtpd_filters = %s\n" % (work, " ".join("plugin:noop%d" % i for i in range(10)))
    sink = bench.Sink(args.tools, work)
    rows, server = {"none": [], "ten": []}, None
    try:
        for number in range(args.rounds):
            order = [("none", ""), ("ten", ten)]
            for name, extra in order if number % 2 == 0 else reversed(order):
                server = bench.Server("millrace", os.path.abspath(args.millrace), work, extra)
                server.start()
                bench.relay_round(server, sink, 1000, 20, 5000, args.scenario == "reuse")   # warms up
                rows[name].append(bench.relay_round(server, sink, args.count, 20, 5000, args.scenario == "reuse"))
                server.stop()
                server.forget_mail()
    finally:
        if server is not None:
            server.stop()
        sink.process.terminate()
        shutil.rmtree(work, ignore_errors=True)
    print(args.scenario)
    for key in ("delivered/s", "accepted/s", "cpu us/message"):
        none, with_ten = (statistics.median(row[key] for row in rows[name]) for name in ("none", "ten"))
        print("  %-16s without %9.1f   with ten %9.1f   change %+.1f %%" % (key, none, with_ten, (with_ten / none - 1) * 100))


if __name__ == "__main__":
    sys.exit(main())
