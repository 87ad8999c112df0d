#!/usr/bin/python3
"""The time to the answer to RCPT with 8 DNS lists that answer in 20 ms, cold cache, a new client each time: Millrace
beside Debian's Postfix 3.7, interleaved.  In namespaces of its own; needs root.

    dns.py [--millrace build/release/millrace] [--clients 40]
"""
import argparse
import os
import socket
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, HERE)
import namespace  # noqa: E402
from bench import Server, wait_port  # noqa: E402,F401
from name_server import NameServer  # noqa: E402

ZONES = 8
MAIN = """mynetworks = 127.0.0.1/32
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, %s
""" % ", ".join("reject_rbl_client z%d.example" % i for i in range(ZONES))


def rcpt_time(port, address):
    with socket.create_connection(("127.0.0.1", port), 20, (address, 0)) as sock:
        stream = sock.makefile("rwb")

        def say(line):
            if line:
                stream.write(line + b"\r\n")
                stream.flush()
            while True:
                reply = stream.readline()
                if reply[3:4] != b"-":
                    return reply
        for line in (b"", b"EHLO client.example", b"MAIL FROM:<a@sender.example>"):
            say(line)
        begin = time.monotonic()
        reply = say(b"RCPT TO:<b@dest.example>")
        took = time.monotonic() - begin
        if not reply.startswith(b"250"):
            raise RuntimeError(reply)
        say(b"QUIT")
        return took


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--millrace", default="build/release/millrace")
    arguments.add_argument("--clients", type=int, default=40)
    options = arguments.parse_args()
    if os.geteuid() != 0:
        sys.exit("needs root")
    namespace.enter()
    names = NameServer(delay=0.02, port=53)
    with tempfile.TemporaryDirectory(prefix="millrace-dns-bench-") as work:
        os.chmod(work, 0o755)
        servers = [Server("millrace", os.path.abspath(options.millrace), work, MAIN)]
        if os.path.exists("/usr/sbin/postfix"):
            servers.append(Server("postfix", "", work, MAIN))
        times = {server.kind: [] for server in servers}
        try:
            for server in servers:
                server.start()
            for i in range(options.clients):
                for number, server in enumerate(servers):
                    times[server.kind].append(rcpt_time(server.port, "127.%d.%d.7" % (10 + number, i + 1)))
        finally:
            for server in servers:
                server.stop()
    for kind, values in times.items():
        values.sort()
        print("%-10s median %6.1f ms   90%% %6.1f ms   questions asked in all %d" %
              (kind, statistics.median(values) * 1e3, values[int(len(values) * 0.9)] * 1e3, len(names.asked)))


if __name__ == "__main__":
    main()
