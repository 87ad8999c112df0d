"""Runs this program again in mount and network namespaces of its own, with a loopback and an /etc/resolv.conf that
names 127.0.0.1, so that a test can be the name server.  Needs root (or user namespaces) and unshare(1)."""
import fcntl
import os
import shutil
import socket
import struct
import subprocess
import sys

MARK = "MILLRACE_TEST_NAMESPACE"
COMMAND = ["unshare", "--mount", "--net", "--propagation", "private"]


def possible():
    command = COMMAND if os.geteuid() == 0 else COMMAND + ["--map-root-user"]
    return shutil.which("unshare") is not None and subprocess.run(command + ["true"], check=False,
                                                                  stderr=subprocess.DEVNULL).returncode == 0


def enter():
    """Returns inside of the namespaces; the caller's process waits for it and ends with its status."""
    if os.environ.get(MARK):
        set_up(os.environ[MARK])
        return
    command = COMMAND if os.geteuid() == 0 else COMMAND + ["--map-root-user"]
    conf = os.path.abspath("/tmp/millrace-resolv.%d" % os.getpid())
    with open(conf, "w", encoding="ascii") as out:
        out.write("nameserver 127.0.0.1\n")
    try:
        sys.exit(subprocess.run(command + [sys.executable] + sys.argv, env=dict(os.environ, **{MARK: conf}),
                                check=False).returncode)
    finally:
        os.unlink(conf)


def set_up(conf):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        request = struct.pack("16sH14s", b"lo", 0, b"")
        flags = struct.unpack("16sH14s", fcntl.ioctl(sock, 0x8913, request))[1]       # SIOCGIFFLAGS
        fcntl.ioctl(sock, 0x8914, struct.pack("16sH14s", b"lo", flags | 1, b""))      # SIOCSIFFLAGS, IFF_UP
    subprocess.run(["mount", "--bind", conf, os.path.realpath("/etc/resolv.conf")], check=True)
