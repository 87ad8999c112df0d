#!/usr/bin/python3
"""The same configuration and the same SMTP dialogues, before Millrace and before Debian's Postfix: replies and delivered
messages must be the same.  The scenarios are beside/*.toml; a first argument GROUP,… takes those whose names begin so.  In namespaces of its own, so
that clients have the addresses and names that a scenario gives them.

A scenario: `main` (main.cf lines; NEXT is the next hop's port), `master` (more services), `dns` (NAME TYPE DATA; "host NAME ADDRESS" is A and PTR; SERVFAIL as the type),
[files] (in the configuration directory), [[policy]] (port, script: "ATTRIBUTE=VALUE … -> ACTION", "* -> ACTION", actions
!close and !hang), [[dialogue]] (client, lines).  Lines of a dialogue are sent as they stand, but
    @test FROM TO…    a transaction with a short message, as far as it is not refused
    @mail FROM TO…    the same with the lines up to "." as message
    @msg              the lines up to ".", sent when the last reply was 354
    @bdat TEXT        BDAT with its size and TEXT, in which \\r and \\n stand for themselves; @bdatlast: the last chunk"""
import glob
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
import tomllib
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "support"))
import case  # noqa: E402
import namespace  # noqa: E402
import postfix  # noqa: E402
from name_server import NameServer  # noqa: E402

NETWORKS = ("192.0.2.1/24", "198.51.100.1/24", "203.0.113.1/24")
DNS = """
host client.example 192.0.2.10
host trusted.example 192.0.2.20
12.2.0.192.in-addr.arpa PTR mismatch.example
mismatch.example A 198.51.100.99
13.2.0.192.in-addr.arpa PTR SERVFAIL
14.2.0.192.in-addr.arpa PTR nowhere.example
host dest.example 198.51.100.2
dest.example MX 10 mx.dest.example
mx.dest.example A 198.51.100.21
host sender.example 198.51.100.3
sender.example MX 10 mx.sender.example
sender.example NS ns.sender.example
mx.sender.example A 198.51.100.4
ns.sender.example A 198.51.100.5
other.example MX 10 mx.other.example
mx.other.example A 198.51.100.6
nullmx.example MX 0 .
tempfail.example A SERVFAIL
tempfail.example AAAA SERVFAIL
tempfail.example MX SERVFAIL
"""
MAIN = """
smtpd_error_sleep_time = 0
notify_classes =
smtpd_hard_error_limit = 1000
smtpd_forbid_bare_newline = no
smtpd_forbid_unauth_pipelining = no
smtpd_peername_lookup = yes
smtp_host_lookup = native
mynetworks = 127.0.0.0/8
"""
MESSAGE = b"From: <a@header.example>\r\nTo: <b@header.example>\r\nDate: Mon, 01 Jan 2001 00:00:00 +0000\r\n" \
          b"Message-Id: <keep@header.example>\r\nSubject: test\r\n\r\nShort test message.\r\n"


def records(text):
    out = {}
    for line in text.strip().splitlines():
        name, kind, *rest = line.split(None, 2)
        if name == "host":
            out.setdefault((kind, "A"), []).append(rest[0])
            out[".".join(reversed(rest[0].split("."))) + ".in-addr.arpa", "PTR"] = [kind]
        elif rest == ["SERVFAIL"]:
            out[name, kind] = None
        else:
            out.setdefault((name, kind), []).append(rest[0].strip('"'))
    return out


class Policy:
    """A policy server that does what its script says."""

    def __init__(self, spec):
        self.rules = [line.split(" -> ", 1) for line in spec["script"].strip().splitlines()]
        self.requests, self.open = [], []
        self.sock = socket.create_server(("127.0.0.1", spec["port"]))
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.open.append(sock)
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        request = {}
        for line in sock.makefile("rb"):
            name, _, value = line.decode().rstrip("\n").partition("=")
            if name:
                request[name] = value
                continue
            self.requests.append(dict(request))
            action = next((action for when, action in self.rules
                           if all(w == "*" or request.get(w.split("=", 1)[0]) == w.split("=", 1)[1] for w in when.split())), "DUNNO")
            request.clear()
            if action == "!close":
                sock.shutdown(socket.SHUT_RDWR)
                return
            if action == "!hang":
                continue
            sock.sendall(b"action=" + action.encode() + b"\n\n")

    def stop(self):
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        for sock in self.open:
            sock.close()


def joined(text):
    """main.cf text with each parameter on one line."""
    return re.sub(r"\n[ \t]+", " ", text.strip())


def play(port, spec):
    """What was said and answered."""
    log = []
    client = case.Client(port, source=spec.get("client", "192.0.2.10"))
    log.append(("", client.greeting))

    def say(line):
        try:
            log.append((line, client.say(line)))
        except TimeoutError:
            raise AssertionError("no answer to %r after %r" % (line, log)) from None
        except (ConnectionResetError, BrokenPipeError):   # closed with something of ours unread
            log.append((line, ""))
        return log[-1][1]

    def transaction(words, message):
        for line in ["MAIL FROM:<%s>" % words[0].strip("<>")] + ["RCPT TO:<%s>" % word for word in words[1:]] + ["DATA"]:
            if not say(line)[:1] in ("2", "3") and not line.startswith("RCPT"):
                say("RSET")
                return
        client.send(message + b".\r\n")
        log.append(("(message)", client.reply()))
        if not log[-1][1].startswith("2"):
            say("RSET")
    lines = spec["lines"].strip("\n").split("\n")
    while lines:
        line = lines.pop(0)
        if line.startswith("@test "):
            transaction(line.split()[1:], MESSAGE)
        elif line.startswith("@mail "):
            end = lines.index(".")
            transaction(line.split()[1:], "".join(each + "\r\n" for each in lines[:end]).encode())
            del lines[:end + 1]
        elif line == "@msg":
            end = lines.index(".")
            if log[-1][1].startswith("354"):
                client.send("".join(each + "\r\n" for each in lines[:end + 1]))
                log.append(("(message)", client.reply()))
            del lines[:end + 1]
        elif line.startswith("@bdat"):
            word, text = line.split(" ", 1)
            content = text.encode().decode("unicode_escape").encode("latin-1")
            client.send(b"BDAT %d%s\r\n" % (len(content), b" LAST" if word == "@bdatlast" else b"") + content)
            log.append((line, client.reply()))
        else:
            say(line)
        if not log[-1][1]:   # the server has ended it
            break
    client.close()
    return [(said, re.sub(r"queued as \w+", "queued as ID", reply)) for said, reply in log]


# Queue IDs (of either server), dates, and what is made of them: boundaries, Message-Ids.
VARYING = ((rb"\d{14}\.[0-9A-F]{9,12}@", b"MADE@"), (rb"\b[0-9A-F]{9,12}\.\d{10}/", b"BOUNDARY/"),
           (rb"\b(id|Queue-ID:) [0-9A-F]{9,12}\b", rb"\1 ID"),
           (rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), +\d+ \w{3} 20[2-9]\d \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)", b"DATE"))


def steady(text):
    for pattern, name in VARYING:
        text = re.sub(pattern, name, text)
    return text


def seen(message):
    """A delivered message without what differs from run to run."""
    headers = [steady(re.sub(rb"\s+", b" ", line)).replace(b"Millrace", b"Postfix") for line in message.headers()]
    return (message.sender, sorted(message.recipients), headers, steady(message.body() or b""))


def without_size(sender):
    return re.sub(r" SIZE=\d+", "", sender)


class Beside(case.Case):
    @classmethod
    def setUpClass(cls):
        for network in NETWORKS:
            subprocess.run(["ip", "addr", "add", network, "dev", "lo"], check=True)
        cls.names = NameServer(port=53)
        cls.addClassCleanup(cls.names.stop)

    def setUp(self):
        pass

    def look(self, start, stop, port, spec):
        """Plays all dialogues; (replies, deliveries, policy requests)."""
        self.next.clear()
        policies = [Policy(each) for each in spec.get("policy", [])]
        start()
        try:
            replies = [play(port, each) for each in spec["dialogue"]]
            count, quiet = -1, 0
            while quiet < 4:      # until nothing more comes
                quiet = quiet + 1 if len(self.next.messages) == count else 0
                count = len(self.next.messages)
                time.sleep(0.15)
            mail = sorted((seen(each) for each in self.next.messages), key=repr)
            for each in mail:
                mail[mail.index(each)] = (without_size(each[0]),) + each[1:]
        finally:
            stop()
            for each in policies:
                each.stop()
        asked = [{k: v for k, v in request.items() if k not in ("queue_id", "instance", "client_port", "server_port", "ccert_pubkey_fingerprint")}
                 for each in policies for request in each.requests]
        return replies, mail, asked

    def compare(self, path):
        with open(path, "rb") as stream:
            text = stream.read().decode()
        name = os.path.basename(path)[:-5]
        cls = type(self)
        cls.work = os.path.join("/tmp", "millrace-beside-%d" % os.getpid(), name)
        os.makedirs(cls.work)
        self.addCleanup(shutil.rmtree, os.path.dirname(cls.work), True)
        os.chmod(os.path.dirname(cls.work), 0o755)
        cls.next = case.NextHop()
        self.addCleanup(cls.next.down)
        spec = tomllib.loads(text.replace("NEXT", str(cls.next.port)))
        self.names.records = {(n.lower(), kind): data for (n, kind), data in records(DNS + spec.get("dns", "")).items()}
        main = joined(MAIN) + "\n" + joined(spec["main"])
        relay = self.RELAY % {"next": self.next.port}
        ours = self.make("millrace", main.replace("%", "%%"), spec.get("files"), spec.get("master", "").replace("%", "%%"))
        theirs = postfix.Postfix(cls.work, relay + main + "\nmail_name = Postfix\n")
        with open(os.path.join(theirs.conf, "master.cf"), "a", encoding="utf-8") as out:
            out.write(spec.get("master", ""))
        for file_name, text in spec.get("files", {}).items():
            with open(os.path.join(theirs.conf, file_name), "w", encoding="utf-8") as out:
                out.write(text)
            if "hash:$config_directory/" + file_name in main:
                subprocess.run(["postmap", "-c", theirs.conf, "hash:" + os.path.join(theirs.conf, file_name)], check=True)
                ours.command("map", "hash:" + os.path.join(ours.conf, file_name))
        with open(os.path.join(ours.conf, "main.cf"), "a", encoding="utf-8") as out:
            out.write("mail_name = Postfix\n")
        wanted = self.look(theirs.start, theirs.stop, theirs.port, spec)
        got = self.look(ours.start, ours.stop, ours.port, spec)
        for ours_said, theirs_said in zip(got[0], wanted[0]):
            self.assertEqual(ours_said, theirs_said)
        self.assertEqual(got[1], wanted[1])
        self.assertEqual(got[2], wanted[2])


class Words(unittest.TestCase):
    """Each restriction word of Postfix stands in some scenario."""
    LISTED = """permit reject defer defer_if_permit defer_if_reject warn_if_reject check_policy_service reject_unauth_pipelining
reject_plaintext_session reject_multi_recipient_bounce sleep permit_inet_interfaces permit_mynetworks permit_sasl_authenticated
permit_tls_clientcerts permit_tls_all_clientcerts check_client_access check_reverse_client_hostname_access
check_client_a_access check_client_mx_access check_client_ns_access check_reverse_client_hostname_a_access
check_reverse_client_hostname_mx_access check_reverse_client_hostname_ns_access check_sasl_access check_ccert_access
reject_unknown_client_hostname reject_unknown_client reject_unknown_reverse_client_hostname reject_rbl_client reject_rbl
permit_dnswl_client reject_rhsbl_client permit_rhswl_client reject_rhsbl_reverse_client check_helo_access check_helo_a_access
check_helo_mx_access check_helo_ns_access reject_invalid_helo_hostname reject_invalid_hostname reject_non_fqdn_helo_hostname
reject_non_fqdn_hostname reject_unknown_helo_hostname reject_unknown_hostname reject_rhsbl_helo check_sender_access
check_sender_a_access check_sender_mx_access check_sender_ns_access reject_non_fqdn_sender reject_unknown_sender_domain
reject_unknown_address reject_unlisted_sender reject_unverified_sender reject_rhsbl_sender reject_sender_login_mismatch
reject_authenticated_sender_login_mismatch reject_known_sender_login_mismatch reject_unauthenticated_sender_login_mismatch
check_recipient_access check_recipient_a_access check_recipient_mx_access check_recipient_ns_access permit_auth_destination
reject_unauth_destination defer_unauth_destination reject_non_fqdn_recipient reject_unknown_recipient_domain
reject_unlisted_recipient check_recipient_maps reject_unverified_recipient reject_rhsbl_recipient permit_mx_backup
check_etrn_access permit_naked_ip_address reject_maps_rbl check_relay_domains""".split()

    def test_every_word(self):
        text = ""
        for path in glob.glob(os.path.join(HERE, "beside", "*.toml")):
            with open(path, encoding="utf-8") as stream:
                text += stream.read()
        self.assertEqual([word for word in self.LISTED if not re.search(r"\b%s\b" % word, text)], [])


def add(path):
    name = "test_" + os.path.basename(path)[:-5].replace("-", "_")
    setattr(Beside, name, lambda self: self.compare(path))


if __name__ == "__main__":
    if not postfix.available() or not namespace.possible():
        print("needs root, unshare(1) and Debian's postfix")
        sys.exit(77)
    namespace.enter()
    groups = sys.argv.pop(1).split(",") if len(sys.argv) > 1 and sys.argv[1][:1] != "-" else [""]
    for found in sorted(glob.glob(os.path.join(HERE, "beside", "*.toml"))):
        if os.path.basename(found).startswith(tuple(groups)):
            add(found)
    Beside.maxDiff = None
    case.main()
