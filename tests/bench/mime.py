#!/usr/bin/python3
"""What hostile MIME costs: 10,000 parts, 1,000 levels, 100,000 header lines, a line of 10 MB, with tables of header and body
checks.  Seconds from the first byte of the content to the reply, and the memory all processes have more at most.

    mime.py [--millrace build/release/millrace]
"""
import argparse
import os
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from instance import Instance  # noqa: E402
import mime_bombs  # noqa: E402

TARGET_SECONDS, TARGET_KIB = 1.0, 16 * 1024


def memory(pid):
    with open("/proc/%d/task/%d/children" % (pid, pid), encoding="ascii") as found:
        family = [pid] + [int(child) for child in found.read().split()]
    total = 0
    for each in family:
        with open("/proc/%d/status" % each, encoding="ascii") as status:
            total += next(int(line.split()[1]) for line in status if line.startswith("RssAnon:"))
    return total


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--millrace", default="build/release/millrace")
    options = arguments.parse_args()
    checks = "".join("%s = pcre:{{/^X-None: never/ REJECT}}\n" % name for name in
                     ("header_checks", "mime_header_checks", "nested_header_checks", "body_checks"))
    bad = 0
    with tempfile.TemporaryDirectory(prefix="millrace-mime-") as work:
        os.chmod(work, 0o755)
        for name, content in mime_bombs.bombs().items():
            instance = Instance(options.millrace, work, "message_size_limit = 20480000\ndefer_transports = smtp, relay\n" + checks, name=name)
            instance.start()
            try:
                mime_bombs.send(instance.port, b"Subject: x\r\n\r\nx\r\n")
                before = memory(instance.process.pid)
                _, most = mime_bombs.send(instance.port, content, lambda: memory(instance.process.pid))  # pylint: disable=cell-var-from-loop
                reply, took = mime_bombs.send(instance.port, content)
            finally:
                instance.stop()
            fits = took <= TARGET_SECONDS and most - before <= TARGET_KIB
            bad += not fits
            print("%-8s %6.3f s (target %g) %6.1f MiB (target %d)  %s%s" % (
                name, took, TARGET_SECONDS, (most - before) / 1024, TARGET_KIB // 1024, reply[:30], "" if fits else "  MISSED"), flush=True)
    sys.exit(bad != 0)


if __name__ == "__main__":
    main()
