#!/usr/bin/python3
"""A "pass" service of master.cf takes the client's socket from whoever connects, and a unix service talks SMTP.

    passed.py --millrace BIN
"""
import argparse
import array
import os
import shutil
import socket
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
from instance import Instance  # noqa: E402


def greeting(sock):
    sock.settimeout(5)
    return sock.recv(100)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default="build/release/millrace")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="passed.")
    os.chmod(work, 0o755)
    server = Instance(args.millrace, work, master="smtpd pass - - n - - smtpd\nlocal-smtp unix n - n - - smtpd\n")
    try:
        server.start()
        listener = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with socket.socket(socket.AF_UNIX) as channel:
            channel.connect(os.path.join(server.queue, "private", "smtpd"))
            channel.sendmsg([b"\0"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()]))])
        accepted.close()
        assert greeting(client).startswith(b"220 mx.mill.example"), "the passed client gets no greeting"
        client.sendall(b"QUIT\r\n")
        assert client.recv(100).startswith(b"221 "), "the passed client is not served"
        with socket.socket(socket.AF_UNIX) as channel:      # nothing passed: no harm
            channel.connect(os.path.join(server.queue, "private", "smtpd"))
            channel.sendall(b"x")
        with socket.socket(socket.AF_UNIX) as local:
            local.connect(os.path.join(server.queue, "public", "local-smtp"))
            assert greeting(local).startswith(b"220 "), "the unix service does not answer"
    finally:
        server.stop()
        shutil.rmtree(work, ignore_errors=True)
    print("1 passed, 0 failed")


if __name__ == "__main__":
    main()
