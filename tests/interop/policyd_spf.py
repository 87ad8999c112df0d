#!/usr/bin/python3
"""Our policyd with plugin:spf against Debian's postfix-policyd-spf-python on the same zone and the same questions.

    policyd_spf.py --millrace BIN [--root DIR]      DIR: where the Debian packages were unpacked, / when installed
    policyd_spf.py --millrace BIN --speed SECONDS   requests per second and CPU per request of both, 20 connections

Differences that are meant stand in MEANT, with the reason.
"""
import argparse
import itertools
import os
import subprocess
import sys
import threading
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from policyd import Policyd  # noqa: E402

ZONE = {
    "pass.example": [{"TXT": "v=spf1 ip4:192.0.2.0/24 ip6:2001:db8::/32 -all"}],
    "fail.example": [{"TXT": "v=spf1 -all"}],
    "soft.example": [{"TXT": "v=spf1 ~all"}],
    "neutral.example": [{"TXT": "v=spf1 ?all"}],
    "broken.example": [{"TXT": "v=spf1 foo -all"}],
    "slow.example": ["TIMEOUT"],
    "why.example": [{"TXT": "v=spf1 -all exp=text.why.example"}],
    "text.why.example": [{"TXT": "%{i} may not send for %{d}"}],
    "mx.example": [{"TXT": "v=spf1 mx a:host.example -all"}, {"MX": [10, "host.example"]}],
    "host.example": [{"A": "192.0.2.1"}, {"A": "198.51.100.1"}, {"TXT": "v=spf1 a -all"}],
    "include.example": [{"TXT": "v=spf1 include:pass.example ~all"}],
    "redirect.example": [{"TXT": "v=spf1 redirect=soft.example"}],
    "loop.example": [{"TXT": "v=spf1 include:loop.example -all"}],
    "many.example": [{"TXT": "v=spf1 a:n1.example a:n2.example a:n3.example a:n4.example -all"}],
    "exists.example": [{"TXT": "v=spf1 exists:%{ir}.%{d} -all"}],
    "1.2.0.192.exists.example": [{"A": "127.0.0.2"}],
    "two.example": [{"TXT": "v=spf1 -all"}, {"TXT": "v=spf1 +all"}],
    "mail.test.example": [{"A": "192.0.2.1"}],
}
CLIENTS = ("192.0.2.1", "198.51.100.1", "2001:db8::1", "127.0.0.1")
HELOS = ("host.example", "fail.example", "none.example", "soft.example", "")
SENDERS = tuple("user@" + name for name in ZONE if name[0].isalpha() and not name.startswith("text.")) + ("", "user@none.example")
CONFIGURATIONS = (
    "",
    "HELO_reject = False\nMail_From_reject = False\n",
    "HELO_reject = SPF_Not_Pass\nMail_From_reject = Softfail\nPermError_reject = True\nTempError_Defer = True\n",
    "HELO_reject = Null\nHide_Receiver = Yes\n",
    "HELO_reject = No_Check\nSPF_Enhanced_Status_Codes = No\nPermError_reject = True\nTempError_Defer = True\n",
    "TestOnly = 0\n",
    "Mail_From_reject = No_Check\n",
    "No_Mail = True\n",
    "Whitelist = 198.51.100.0/24\nReject_Not_Pass_Domains = neutral.example\n",
)


def meant(theirs, ours):
    """Why two different answers are both in order; "" when they are not."""
    cut = theirs.split("SPF Permanent Error: ")[0], ours.split("SPF Permanent Error: ")[0]
    if "SPF Permanent Error: " in theirs and cut[0] == cut[1]:
        return "each says in its own words what is wrong with a record"
    if "slow.example" in ours and "SPF Temporary Error" in ours or "Temperror" in ours:
        return "SERVFAIL is a temporary error (RFC 7208 section 4.4); policyd-spf takes it for no record"
    cut = theirs.split("SPF Temporary Error: ")[0], ours.split("SPF Temporary Error: ")[0]
    if "SPF Temporary Error: " in theirs and cut[0] == cut[1]:
        return "each says in its own words what DNS did"
    return ""


def questions():
    number = 0
    for client, helo, sender in itertools.product(CLIENTS, HELOS, SENDERS):
        number += 1
        yield ("request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=%s\nclient_name=unknown\n"
               "helo_name=%s\nsender=%s\nrecipient=rcpt@dest.example\ninstance=%d.%d\n\n" % (client, helo, sender, os.getpid(), number))


def program(port, config):
    """policyd-spf with the name server of the zone, for whichever of the two DNS libraries it finds."""
    return """import sys
try:
    import dns.resolver
    dns.resolver.default_resolver = dns.resolver.Resolver(configure=False)
    dns.resolver.default_resolver.nameservers, dns.resolver.default_resolver.port = ["127.0.0.1"], %d
except ImportError:
    import DNS
    DNS.defaults["server"], DNS.defaults["port"] = ["127.0.0.1"], %d
sys.argv = ["policyd-spf", %r]
import spf_engine.policyd_spf
spf_engine.policyd_spf.main()
""" % (port, port, config)


class Theirs:
    """policyd-spf on standard input, with its name server pointed at the zone."""

    def __init__(self, root, port, config):
        code = program(port, config)
        path = os.path.join(root, "usr/lib/python3/dist-packages")
        self.process = subprocess.Popen([sys.executable, "-W", "ignore", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.DEVNULL, env=dict(os.environ, PYTHONPATH=path))

    def ask(self, question):
        self.process.stdin.write(question.encode())
        self.process.stdin.flush()
        line = self.process.stdout.readline().decode()
        if not line:
            raise RuntimeError("policyd-spf ended")
        self.process.stdout.readline()
        return line.rstrip("\n").partition("action=")[2]

    def close(self):
        self.process.stdin.close()
        return self.process.wait()


def same_form(action):
    """policyd-spf writes the word in lower case."""
    word, _, rest = action.partition(" ")
    return (word.upper() + " " + rest).strip() if word.lower() in ("prepend", "dunno") else action.strip()


def compare(binary, root):
    asked = different = 0
    reasons = {}
    for config in CONFIGURATIONS:
        ours = Policyd(binary, ZONE, config=config)
        theirs = Theirs(root, ours.dns.port, ours.config)
        asker = ours.asker()
        for question in questions():
            if "TempError_Defer" not in config and "slow.example" in question and "helo_name=host" not in question:
                continue     # policyd-spf tries a failing server for long
            asked += 1
            asker.send(question.encode())
            mine, yours = same_form(asker.answer()), same_form(theirs.ask(question))
            if mine == yours:
                continue
            why = meant(yours, mine)
            if why:
                reasons[why] = reasons.get(why, 0) + 1
                continue
            different += 1
            print("with %r:\n%s  policyd-spf: %s\n  millrace:    %s\n" % (config, question.replace("\n", " "), yours, mine))
        asker.close()
        theirs.close()
        ours.stop()
    for why, count in reasons.items():
        print("%4d times meant: %s" % (count, why))
    print("%d questions, %d different" % (asked, different))
    return different == 0 and asked >= 100


def cpu_of(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def speed(binary, root, seconds):
    """Interleaved: each of 20 connections asks without pause."""
    request = ("request=smtpd_access_policy\nclient_address=192.0.2.1\nhelo_name=host.example\nsender=user@pass.example\n"
               "recipient=rcpt@dest.example\ninstance=%d\n\n")

    def drive(ask, until, counts, slot):
        number = 0
        while time.monotonic() < until:
            number += 1
            ask(request % (slot * 10_000_000 + number))
        counts[slot] = number

    def measure(askers, pids):
        counts = [0] * len(askers)
        before = sum(cpu_of(pid) for pid in pids)
        until = time.monotonic() + seconds
        threads = [threading.Thread(target=drive, args=(ask, until, counts, slot)) for slot, ask in enumerate(askers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(counts) / seconds, (sum(cpu_of(pid) for pid in pids) - before) / max(sum(counts), 1)

    ours = Policyd(binary, ZONE, config="debugLevel = 0\n")
    theirs = [Theirs(root, ours.dns.port, ours.config) for _ in range(20)]
    connections = [ours.asker() for _ in range(20)]

    def asking(asker):
        def ask(text):
            asker.send(text.encode())
            asker.answer()
        return ask
    mine = measure([asking(one) for one in connections], [ours.process.pid])
    yours = measure([one.ask for one in theirs], [one.process.pid for one in theirs])
    print("millrace     %9.0f requests/s  %8.1f us CPU each" % (mine[0], mine[1] * 1e6))
    print("policyd-spf  %9.0f requests/s  %8.1f us CPU each" % (yours[0], yours[1] * 1e6))
    print("ratio        %9.1f             %8.1f" % (mine[0] / yours[0], yours[1] / mine[1]))
    for one in theirs:
        one.close()
    ours.stop()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--millrace", required=True)
    parser.add_argument("--root", default="/")
    parser.add_argument("--speed", type=float)
    args = parser.parse_args()
    binary = os.path.abspath(args.millrace)
    if not os.path.exists(os.path.join(args.root, "usr/lib/python3/dist-packages/spf_engine")):
        print("skipped: no policyd-spf-python here")
        sys.exit(77)
    if args.speed:
        speed(binary, args.root, args.speed)
        return
    sys.exit(0 if compare(binary, args.root) else 1)


if __name__ == "__main__":
    main()
