#!/usr/bin/python3
"""DNS lists against a name server of the test: asked side by side, never for clients of our own networks, and a list
that refuses us lists nobody.  In a mount and a network namespace of its own, so that the test can be the name server."""
import os
import statistics
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import namespace  # noqa: E402
from name_server import NameServer  # noqa: E402

ZONES = ["z%d.example" % i for i in range(8)]
LISTS = ", ".join("reject_rbl_client " + zone for zone in ZONES)


def reverse(address):
    return ".".join(reversed(address.split(".")))


class Lists(case.Case):
    MAIN = """mynetworks = 127.0.0.1/32
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, %s
""" % LISTS

    @classmethod
    def prepare(cls):
        cls.names = NameServer({(reverse("127.2.0.1") + ".z3.example", "A"): ["127.0.0.2"],
                                (reverse("127.2.0.1") + ".z3.example", "TXT"): ["see z3"],
                                (reverse("127.2.0.2") + ".z1.example", "A"): ["127.255.255.254"],
                                (reverse("127.2.0.3") + ".z1.example", "A"): None}, delay=0.02, port=53)
        cls.addClassCleanup(cls.names.stop)

    def rcpt(self, address, instance=None, recipient="<b@dest.example>"):
        """The reply to RCPT for a client at `address`, and the seconds it took."""
        client = self.client(instance, source=address)
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@sender.example>")
        del self.names.asked[:]
        begin = time.monotonic()
        reply = client.say("RCPT TO:" + recipient)
        took = time.monotonic() - begin
        client.close()
        return reply, took

    def lists_asked(self):
        return [name for name, _ in self.names.asked if name.endswith(tuple(ZONES))]

    def test_all_lists_cost_one_answer(self):
        slow = self.make("slow", self.MAIN + "smtpd_dns_lookahead = no\n")
        slow.start()
        self.addCleanup(slow.stop)
        medians = {}
        for name, instance, net in (("ahead", self.instance, 1), ("one by one", slow, 2)):
            times = []
            for i in range(15):
                reply, took = self.rcpt("127.1.%d.%d" % (net, i + 1), instance)
                self.assertEqual(reply, "250 2.1.5 Ok")
                self.assertEqual(len(self.lists_asked()), len(ZONES))
                times.append(took)
            medians[name] = statistics.median(times)
        self.assertGreater(medians["one by one"], 8 * 0.02)
        self.assertLess(medians["ahead"], medians["one by one"] / 2)

    def test_nobody_is_asked_about_our_own_clients(self):
        self.assertEqual(self.rcpt("127.0.0.1")[0], "250 2.1.5 Ok")
        self.assertEqual(self.lists_asked(), [])
        self.assertEqual(self.rcpt("127.2.0.9", recipient="<b@elsewhere.example>")[0][:3], "454")
        self.assertEqual(self.lists_asked(), [])

    def test_listed_refused_and_failing(self):
        self.assertEqual(self.rcpt("127.2.0.1")[0],
                         "554 5.7.1 Service unavailable; Client host [127.2.0.1] blocked using z3.example; see z3")
        self.assertEqual(self.rcpt("127.2.0.2")[0], "250 2.1.5 Ok")
        self.wait_log(r"warning: 2\.0\.2\.127\.z1\.example: the DNS list answers 127\.255\.255\.254: it does not serve")
        self.assertEqual(self.rcpt("127.2.0.3")[0], "250 2.1.5 Ok")
        self.wait_log(r"warning: 3\.0\.2\.127\.z1\.example: RBL lookup error: .*type=A: Host not found, try again")


if __name__ == "__main__":
    if not os.environ.get(namespace.MARK) and not namespace.possible():
        print("no namespaces here: skipped")
        sys.exit(77)
    namespace.enter()
    unittest.TestCase.longMessage = True
    case.main()
