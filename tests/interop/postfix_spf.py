#!/usr/bin/python3
"""A real Postfix that asks for SPF: our policyd on a socket, ours from spawn(8), and policyd-spf-python from spawn(8).
The replies to RCPT and the headers that arrive must be the same.  Needs root and Debian's postfix.

    postfix_spf.py --millrace BIN [--root DIR]      DIR: where policyd-spf-python's packages were unpacked
"""
import argparse
import itertools
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
sys.path.insert(0, HERE)
from case import Client  # noqa: E402
from instance import free_port, wait_until  # noqa: E402
from next_hop import NextHop  # noqa: E402
from policyd import Policyd  # noqa: E402
from policyd_spf import ZONE, meant, program  # noqa: E402

CLIENTS = ("192.0.2.1", "198.51.100.1", "IPV6:2001:db8::1")
HELOS = ("host.example", "fail.example", "none.example")
SENDERS = tuple("user@" + name for name in ("pass.example", "fail.example", "soft.example", "neutral.example", "broken.example", "why.example",
                                            "mx.example", "include.example", "redirect.example", "loop.example", "two.example",
                                            "none.example")) + ("",)

MAIN = """queue_directory = %(work)s/queue
data_directory = %(work)s/data
maillog_file = /dev/stdout
myhostname = mx.example
mydestination =
relayhost = [127.0.0.1]:%(hop)d
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
smtpd_authorized_xclient_hosts = 127.0.0.1
smtpd_relay_restrictions = reject_unauth_destination
relay_domains = dest.example
relay_transport = smtp:[127.0.0.1]:%(hop)d
smtpd_client_connection_rate_limit = 0
smtpd_error_sleep_time = 0
smtpd_hard_error_limit = 1000
smtpd_peername_lookup = no
compatibility_level = 3.6
alias_maps =
local_recipient_maps =
"""
SMTPD = "127.0.0.1:%d inet n - n - - smtpd\n  -o { smtpd_recipient_restrictions = check_policy_service unix:%s, permit }\n"
MASTER = """postlog unix-dgram n - n - 1 postlogd
pickup unix n - n 60 1 pickup
cleanup unix n - n - 0 cleanup
qmgr unix n - n 300 1 qmgr
rewrite unix - - n - - trivial-rewrite
bounce unix - - n - 0 bounce
defer unix - - n - 0 bounce
trace unix - - n - 0 bounce
smtp unix - - n - - smtp
error unix - - n - - error
retry unix - - n - - error
anvil unix - - n - 1 anvil
proxymap unix - - n - - proxymap
"""


def script(path, text):
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
    os.chmod(path, 0o755)
    return path


class Postfix:
    def __init__(self, master, hop):
        self.work = tempfile.mkdtemp(prefix="postfix.")
        os.chmod(self.work, 0o755)
        self.config = self.work + "/etc"
        for name in ("etc", "queue", "data"):
            os.mkdir(os.path.join(self.work, name))
        owner = pwd.getpwnam("postfix")
        os.chown(self.work + "/data", owner.pw_uid, owner.pw_gid)
        with open(self.config + "/main.cf", "w", encoding="ascii") as file:
            file.write(MAIN % {"work": self.work, "hop": hop})
        with open(self.config + "/master.cf", "w", encoding="ascii") as file:
            file.write(MASTER + master)
        self.log = open(self.work + "/log", "wb")
        self.process = subprocess.Popen(["postfix", "-c", self.config, "start-fg"], stdout=self.log, stderr=self.log)

    def stop(self):
        subprocess.run(["postfix", "-c", self.config, "stop"], stdout=self.log, stderr=self.log, check=False)
        self.process.wait(20)
        self.log.close()
        if os.environ.get("INTEROP_LOG"):
            with open(self.work + "/log", encoding="utf-8", errors="replace") as file:
                sys.stderr.write(file.read())
        shutil.rmtree(self.work, ignore_errors=True)


def ask(port, client, helo, sender, hop):
    """What RCPT got, and the trace headers of the message that went through."""
    before = len(hop.messages)
    smtp = Client(port)
    smtp.say("XCLIENT ADDR=%s NAME=[UNAVAILABLE]" % client)
    smtp.say("EHLO " + helo)
    smtp.say("MAIL FROM:<%s>" % sender)
    reply = smtp.say("RCPT TO:<rcpt@dest.example>")
    headers = []
    if reply.startswith("250"):
        smtp.say("DATA")
        smtp.send(b"Subject: x\r\n\r\nbody\r\n.\r\n")
        smtp.reply()
        hop.wait(before + 1)
        headers = [re.sub(rb"\s+", b" ", one) for one in hop.messages[-1].headers()
                   if one.lower().startswith((b"received-spf:", b"x-comment:", b"authentication-results:"))]
    smtp.say("QUIT")
    smtp.close()
    return reply, [one.decode("utf-8", "replace").strip() for one in headers]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", required=True)
    parser.add_argument("--root", default="/")
    args = parser.parse_args()
    binary = os.path.abspath(args.millrace)
    theirs = os.path.join(args.root, "usr/lib/python3/dist-packages")
    if os.geteuid() != 0 or shutil.which("postfix") is None or not os.path.exists(theirs + "/spf_engine"):
        print("skipped: needs root, postfix and policyd-spf-python")
        sys.exit(77)
    # Postfix runs it as nobody, who may not reach a clone in somebody's home: a copy can be reached.
    place = tempfile.mkdtemp(prefix="postfix-spf.")
    os.chmod(place, 0o755)
    os.mkdir(place + "/plugins")
    binary = shutil.copy(binary, place + "/millrace")
    shutil.copy(os.path.join(os.path.dirname(os.path.abspath(args.millrace)), "plugins", "spf.so"), place + "/plugins/spf.so")
    hop = NextHop()
    daemon = Policyd(binary, ZONE, config="")
    work = daemon.work
    ours = script(work + "/ours", "#!/bin/sh\nexec %s '%s'\n" % (" ".join(daemon.arguments), daemon.filter))
    python = script(work + "/theirs", "#!/usr/bin/python3\nimport sys; sys.path.insert(0, %r)\n" % theirs
                    + program(daemon.dns.port, daemon.config))
    os.chmod(daemon.socket, 0o666)
    ports = {"millrace, socket": free_port(), "millrace, spawn": free_port(), "policyd-spf": free_port()}
    master = SMTPD % (ports["millrace, socket"], daemon.socket)
    for name, service, command in (("millrace, spawn", "ours", ours), ("policyd-spf", "theirs", python)):
        master += SMTPD % (ports[name], "private/" + service) + "%s unix - n n - 0 spawn user=nobody argv=%s\n" % (service, command)
    postfix = Postfix(master, hop.port)
    different = asked = 0
    try:
        for port in ports.values():
            wait_until(lambda p=port: listens(p), 10, "Postfix on port %d" % port)
        for client, helo, sender in itertools.product(CLIENTS, HELOS, SENDERS):
            answers = {name: ask(port, client, helo, sender, hop) for name, port in ports.items()}
            asked += 1
            first = answers["policyd-spf"]
            for name, answer in answers.items():
                if answer != first and not meant(first[0] + str(first[1]), answer[0] + str(answer[1])):
                    different += 1
                    print("%s %s <%s>\n  policyd-spf: %s\n  %s: %s" % (client, helo, sender, first, name, answer))
    finally:
        postfix.stop()
        daemon.stop()
        hop.down()
        shutil.rmtree(place, ignore_errors=True)
    print("%d combinations through Postfix, %d different" % (asked, different))
    sys.exit(1 if different or asked < 100 else 0)


def listens(port):
    try:
        Client(port, 2).close()
        return True
    except OSError:
        return False


if __name__ == "__main__":
    main()
