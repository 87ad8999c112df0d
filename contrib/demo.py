#!/usr/bin/python3
"""The main job, on loopback: a filtering smarthost with an internal server behind it and four kinds of filter
in front (OpenDKIM, postgrey, a plugin, a Lua class), and header_checks.  Sends real messages, shows each
verdict, what the internal server got, the log and the decision trace.

    demo.py --millrace build/release/millrace [--keep]

--keep leaves everything running (and says how to send mail to it) until Ctrl-C.  Everything lives in a
temporary folder; nothing outside 127.0.0.0/8 is touched.
"""
import argparse
import os
import shutil
import smtplib
import socketserver
import subprocess
import sys
import tempfile
import threading
import time

TOP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
sys.path.insert(0, os.path.join(TOP, "tests", "support"))
from instance import Instance, free_port, listening, wait_until  # noqa: E402

GREYLIST_DELAY_S = 2


class InternalServer(socketserver.ThreadingTCPServer):
    """The server behind the smarthost: takes everything, keeps it."""
    allow_reuse_address = daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), InternalSession)
        self.messages = []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class InternalSession(socketserver.StreamRequestHandler):
    def say(self, text):
        self.wfile.write(text.encode() + b"\r\n")

    def handle(self):
        self.say("220 internal.example ESMTP")
        envelope = []
        for line in self.rfile:
            verb = line.split(None, 1)[0].upper() if line.strip() else b""
            if verb == b"EHLO":
                self.say("250-internal.example\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 0")
            elif verb == b"DATA":
                self.say("354 go ahead")
                content = b""
                while (line := self.rfile.readline()) not in (b".\r\n", b""):
                    content += line[1:] if line.startswith(b".") else line
                self.server.messages.append((list(envelope), content))
                self.say("250 2.0.0 Ok: taken")
            elif verb == b"QUIT":
                return self.say("221 2.0.0 Bye")
            else:
                envelope = [line.strip().decode()] if verb == b"MAIL" else envelope + [line.strip().decode()]
                self.say("250 2.0.0 Ok")


def opendkim(work, port):
    """A real OpenDKIM that signs what leaves for example.com; its key for the verification below."""
    keys = os.path.join(work, "dkim")
    os.makedirs(keys)
    subprocess.run(["opendkim-genkey", "-D", keys, "-d", "example.com", "-s", "demo", "-b", "2048"], check=True)
    conf = os.path.join(keys, "opendkim.conf")
    with open(conf, "w", encoding="ascii") as out:
        out.write("Socket inet:%d@127.0.0.1\nDomain example.com\nSelector demo\nKeyFile %s/demo.private\nMode sv\n"
                  "InternalHosts 127.0.0.1\nSyslog no\nRequireSafeKeys no\nUserID root\n" % (port, keys))
    return subprocess.Popen(["opendkim", "-f", "-x", conf], stderr=subprocess.DEVNULL)


def postgrey(work, port):
    data = os.path.join(work, "postgrey")
    os.makedirs(data)
    for name in ("clients", "recipients"):
        open(os.path.join(data, name), "w", encoding="ascii").close()
    shutil.chown(data, "postgrey", "postgrey")
    return subprocess.Popen(["postgrey", "--inet=127.0.0.1:%d" % port, "--delay=%d" % GREYLIST_DELAY_S, "--dbdir=" + data,
                             "--whitelist-clients=" + data + "/clients", "--whitelist-recipients=" + data + "/recipients"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def verifies(content, keys):
    """Does the DKIM signature verify (dkimpy)?"""
    import dkim
    with open(os.path.join(keys, "demo.txt"), encoding="ascii") as text:
        record = "".join(part for i, part in enumerate(text.read().split('"')) if i % 2)
    return dkim.verify(content, dnsfunc=lambda name, timeout=5: record.encode())


class Demo:
    def __init__(self, server):
        self.server, self.rows = server, []

    def send(self, what, expect, sender="alice@sender.example", recipient="bob@example.org", source="127.0.0.9",
             helo="client.example", subject="hello", body="A line.\r\n", headers=""):
        content = ("From: <%s>\r\nTo: <%s>\r\nDate: Sat, 21 Nov 2026 12:00:00 +0000\r\nMessage-ID: <%s@demo>\r\nSubject: %s\r\n%s\r\n%s" %
                   (sender, recipient, what.replace(" ", "-"), subject, headers, body)).encode()
        try:
            with smtplib.SMTP("127.0.0.1", self.server.port, helo, 30, source_address=(source, 0)) as client:
                client.ehlo()
                for code, text in self.commands(client, sender, recipient, content):
                    if code >= 400:
                        break
        except smtplib.SMTPServerDisconnected as err:
            code, text = 0, str(err).encode()
        good = str(code).startswith(expect)
        self.rows.append((what, code, text.decode(errors="replace").replace("\n", " / "), good))
        print("  %-34s %d %s%s" % (what, code, self.rows[-1][2][:110], "" if good else "   <-- expected " + expect), flush=True)

    @staticmethod
    def commands(client, sender, recipient, content):
        yield client.docmd("MAIL", "FROM:<%s> SIZE=%d" % (sender, len(content)))
        yield client.rcpt(recipient)
        yield client.data(content)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", default=os.path.join(TOP, "build/release/millrace"))
    parser.add_argument("--keep", action="store_true")
    args = parser.parse_args()
    work = tempfile.mkdtemp(prefix="millrace-demo.")
    os.chmod(work, 0o755)
    # A clone in root's home is out of reach for the user who runs the fronts; an installed plugin is not.
    plugins = shutil.copytree(os.path.join(os.path.dirname(os.path.abspath(args.millrace)), "plugins"),
                              os.path.join(work, "plugins"), ignore=lambda _, names: [n for n in names if not n.endswith(".so")])
    internal, milter_port, policy_port = InternalServer(), free_port(), free_port()
    others = [opendkim(work, milter_port), postgrey(work, policy_port)]
    server = Instance(args.millrace, work, """
myhostname = gateway.example.org
relay_domains = example.org
relayhost = [127.0.0.1]:%d
relay_transport = relay:[127.0.0.1]:%d
mynetworks = 127.0.0.1/32
message_size_limit = 20000
smtp_tls_security_level = none
plugin_directory = %s
smtpd_filters = { plugin:sample, reject_recipient=spamtrap@, header=X-Sample }
smtpd_milters = { inet:127.0.0.1:%d, default_action=accept }
smtpd_restriction_classes = known_helo
known_helo = lua:$config_directory/known_helo.lua
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, known_helo, check_policy_service inet:127.0.0.1:%d
header_checks = pcre:$config_directory/header_checks
minimal_backoff_time = 5s
queue_run_delay = 5s
""" % (internal.server_address[1], internal.server_address[1], plugins, milter_port, policy_port),
                      files={"header_checks": "/^Subject:.*lottery/  REJECT 5.7.1 No lotteries here\n",
                             "known_helo.lua": open(os.path.join(TOP, "policies", "known_helo.lua"), encoding="utf-8").read()})
    good = False
    try:
        for port in (milter_port, policy_port):
            wait_until(lambda p=port: listening(p), 20, "a filter on port %d" % port)
        server.start()
        print("millrace is the smarthost for example.org on 127.0.0.1:%d, the internal server on port %d" %
              (server.port, internal.server_address[1]))
        print("filters: plugin:sample, milter OpenDKIM, policy service postgrey, Lua class known_helo, header_checks\n\nverdicts:")
        demo = Demo(server)
        demo.send("clean, from the inside", "250", sender="carol@example.com", recipient="dave@elsewhere.example", source="127.0.0.1")
        demo.send("greylisted, first try", "450")
        demo.send("relay attempt", "454", recipient="victim@elsewhere.example")
        demo.send("oversized", "552", body="x" * 70 + "\r\n" + "y" * 30000)
        demo.send("refused by the plugin", "550", recipient="spamtrap@example.org", source="127.0.0.1")
        demo.send("refused by Lua", "554", helo="localhost")
        demo.send("header_checks REJECT", "550", source="127.0.0.1", subject="You won the lottery")
        time.sleep(GREYLIST_DELAY_S + 1)
        demo.send("greylisted, second try", "250")
        expected = sum(1 for row in demo.rows if row[1] == 250)
        wait_until(lambda: len(internal.messages) >= expected, 20, "delivery")
        print("\nthe internal server got %d messages:" % len(internal.messages))
        signed = True
        for envelope, content in internal.messages:
            print("  " + "  ".join(envelope))
            head, _, body = content.partition(b"\r\n\r\n")
            for line in (head + b"\r\n\r\n" + body).decode(errors="replace").splitlines():
                print("    | " + line)
            if b"carol@example.com" in head:
                signed = verifies(content, os.path.join(work, "dkim"))
                print("    DKIM signature by OpenDKIM, checked with dkimpy: %s" % ("good" if signed else "BAD"))
        print("\nthe log:")
        print("".join("  " + line + "\n" for line in server.log_text().splitlines()))
        queue_id = next(line.split("queued as ")[1].split()[0].strip(".)") for line in [r[2] for r in demo.rows] if "queued as" in line)
        print("millrace explain %s:" % queue_id)
        print("".join("  " + line + "\n" for line in server.command("explain", queue_id).stdout.splitlines()))
        good = all(row[3] for row in demo.rows) and signed and len(internal.messages) == expected
        print("all verdicts as expected" if good else "NOT as expected")
        if args.keep:
            print("\nstill running; try: swaks --server 127.0.0.1:%d --from a@b.example --to bob@example.org\nCtrl-C ends it." % server.port)
            while server.process.poll() is None:
                time.sleep(1)
    except KeyboardInterrupt:
        pass
    finally:
        server.stop()
        for process in others:
            process.terminate()
        shutil.rmtree(work, ignore_errors=True)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
