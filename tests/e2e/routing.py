#!/usr/bin/python3
"""Where mail goes: the five address classes, relayhost and its like by sender, fallback relays, mail exchangers with ourselves
among them, and the same for address verification probes.  In a mount and a network namespace of its own, so that the test
can be the name server and the exchangers, on port 25."""
import os
import re
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import namespace  # noqa: E402
from instance import wait_until  # noqa: E402
from name_server import NameServer  # noqa: E402
from next_hop import NextHop  # noqa: E402

MAIL = b"From: a@sender.example\r\nSubject: x\r\n\r\nbody\r\n"
PORT = 25


def exchanger(address):
    """A next hop at port 25 of that address."""
    return type("Exchanger", (NextHop,), {"ADDRESS": address})(port=PORT)


ZONE = {("far.example", "MX"): ["10 one.far.example", "20 two.far.example"], ("one.far.example", "A"): ["127.0.0.2"],
        ("two.far.example", "A"): ["127.0.0.3"],
        # Ourselves: the best of them, the second, and behind a host that is not there.
        ("own.example", "MX"): ["10 mx.mill.example"], ("mx.mill.example", "A"): ["127.0.0.1"],
        ("backup.example", "MX"): ["10 one.far.example", "20 mx.mill.example", "30 two.far.example"],
        ("address.example", "A"): ["127.0.0.1"], ("null.example", "MX"): ["0 ."], ("dead.example", "MX"): ["10 dead.far.example"],
        ("dead.far.example", "A"): ["127.0.0.9"], ("other.example", "A"): ["127.0.0.2"], ("broken.example", "MX"): None,
        ("gateway.example", "A"): ["127.0.0.4"], ("special.example", "A"): ["127.0.0.5"], ("fallback.example", "A"): ["127.0.0.6"]}


class Base(case.Case):
    RELAY = "smtp_connect_timeout = 3s\nminimal_backoff_time = 1s\nmaximal_backoff_time = 1s\nqueue_run_delay = 1s\n" \
            "smtpd_recipient_restrictions =\nsmtpd_relay_restrictions = permit_mynetworks, reject\naddress_verify_poll_delay = 5s\naddress_verify_map =\n"
    HOPS = ("127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.5", "127.0.0.6")

    @classmethod
    def prepare(cls):
        cls.names = NameServer(ZONE, port=53)
        cls.addClassCleanup(cls.names.stop)
        cls.hops = {address: exchanger(address) for address in cls.HOPS}
        for hop in cls.hops.values():
            cls.addClassCleanup(hop.down)

    def setUp(self):
        super().setUp()
        for hop in self.hops.values():
            hop.replies.clear()
            hop.clear()
            if hop.listener is None:
                hop.up()

    def send(self, recipient, instance=None, sender="<a@sender.example>"):
        return self.queue_id(self.submit(MAIL, instance=instance, sender=sender, recipients=["<%s>" % recipient]))

    def at(self, address, recipient):
        """The message for `recipient` that came to the next hop at `address`; it came to no other."""
        wait_until(lambda: any(recipient in m.recipients[0] for m in list(self.hops[address].messages)), 15,
                   "%s at %s" % (recipient, address))
        for other, hop in self.hops.items():
            if other != address:
                self.assertFalse([m for m in hop.messages if recipient in m.recipients[0]], other)

    def another(self, name, main):
        instance = self.make(name, main)
        instance.start()
        self.addCleanup(instance.stop)
        return instance


class Exchangers(Base):
    MAIN = "relay_domains =\nmydestination =\n"

    def test_the_best_that_answers(self):
        self.send("u1@far.example")
        self.at("127.0.0.2", "u1@far.example")
        self.hops["127.0.0.2"].down()
        queue_id = self.send("u2@far.example")
        self.at("127.0.0.3", "u2@far.example")
        self.wait_log(queue_id + r": to=<u2@far\.example>, relay=two\.far\.example\[127\.0\.0\.3\]:25, .*status=sent")
        self.wait_log(r"connect to one\.far\.example\[127\.0\.0\.2\]:25: Connection refused")

    def test_never_ourselves_nor_worse(self):
        for domain, text in (("own.example", "mail for own.example loops back to myself"),
                             ("address.example", "mail for address.example loops back to myself")):
            queue_id = self.send("u@" + domain)
            self.wait_log(queue_id + r": to=<u@%s>, relay=none, .*dsn=5\.4\.6, status=bounced \(%s\)" % (re.escape(domain), re.escape(text)))
        self.send("b1@backup.example")
        self.at("127.0.0.2", "b1@backup.example")
        self.hops["127.0.0.2"].down()
        queue_id = self.send("b2@backup.example")
        self.wait_log(queue_id + r": to=<b2@backup\.example>, .*status=deferred \(connect to one\.far\.example")
        time.sleep(0.2)
        self.assertFalse(self.hops["127.0.0.3"].messages)
        self.instance.command("super", "-d", queue_id)

    def test_what_dns_says(self):
        for domain, text in (("null.example", r"dsn=5\.1\.0, status=bounced \(Domain null\.example does not accept mail \(nullMX\)\)"),
                             ("nowhere.example", r"dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service error for name=nowhere\.example "
                                                 r"type=AAAA: Host not found\)|dsn=5\.4\.4, status=bounced \(Host or domain name not found\. Name service "
                                                 r"error for name=nowhere\.example type=A: Host not found\)"),
                             ("broken.example", r"dsn=4\.4\.3, status=deferred \(Host or domain name not found\. Name service error for name=broken\.example "
                                                r"type=MX: Host not found, try again\)")):
            queue_id = self.send("u@" + domain)
            self.wait_log(queue_id + r": to=<u@%s>, relay=none, .*(%s)" % (re.escape(domain), text))
        self.instance.command("super", "-d", "ALL")

    def test_best_mx_transport(self):
        for value, where in (("smtp:[gateway.example]", "127.0.0.4"), ("discard", None)):
            instance = self.another("best-" + value[:4], self.MAIN + "best_mx_transport = %s\n" % value)
            queue_id = self.send("m@own.example", instance)
            if where:
                self.at(where, "m@own.example")
            else:
                self.wait_log(queue_id + r": to=<m@own\.example>, relay=none, .*status=sent", instance=instance)
            self.send("n@far.example", instance)
            self.at("127.0.0.2", "n@far.example")

    def test_fallback_relay(self):
        for name in ("smtp_fallback_relay", "fallback_relay"):
            with self.subTest(name):
                instance = self.another(name, self.MAIN + name + " = [fallback.example]\n")
                for recipient, why in (("u@dead.example", "nobody answers"), ("u@nowhere.example", "no such domain"), ("u@broken.example", "no answer")):
                    self.setUp()
                    self.send(recipient, instance)
                    self.at("127.0.0.6", recipient)
                self.send("v@far.example", instance)
                self.at("127.0.0.2", "v@far.example")
                # A refusal of the destination's own is final: the fallback is for hosts that cannot be reached.
                self.hops["127.0.0.2"].replies["RCPT"] = "550 5.1.1 no"
                queue_id = self.send("w@far.example", instance)
                self.wait_log(queue_id + r": to=<w@far\.example>.*dsn=5\.1\.1, status=bounced", instance=instance)
                self.assertFalse([m for m in self.hops["127.0.0.6"].messages if "w@far" in m.recipients[0]])
                instance.stop()

    def test_greeting_of_our_own(self):
        self.hops["127.0.0.2"].replies["EHLO"] = "250 mx.mill.example"
        queue_id = self.send("g@other.example")
        self.wait_log(queue_id + r": to=<g@other\.example>.*dsn=5\.4\.6, status=bounced \(mail for other\.example loops back to myself\)")

    def test_hops(self):
        content = b"Received: by x\r\n" * 50 + MAIL
        reply = self.submit(content, recipients=["<u@far.example>"])
        self.assertRegex(reply, r"^554 5\.4\.0 Error: too many hops")


class Relays(Base):
    MAIN = """relay_domains = relay.example
mydestination = local.example
relayhost = [gateway.example]
relay_transport = relay:[127.0.0.3]
local_transport = smtp:[127.0.0.6]
local_recipient_maps =
relay_recipient_maps = inline:{ {known@relay.example = x} {@open.example = x} }
sender_dependent_relayhost_maps = inline:{ {boss@sender.example = [special.example]} {@dept.example = [127.0.0.2]} {none@dept.example = DUNNO} }
sender_dependent_default_transport_maps = inline:{ {odd@sender.example = smtp:[127.0.0.3]} }
virtual_alias_domains = alias.example
virtual_alias_maps = inline:{ {info@alias.example = end@far.example} }
virtual_mailbox_domains = box.example
virtual_mailbox_maps = inline:{ {user@box.example = x} }
virtual_transport = lmtp:inet:127.0.0.2:25
transport_maps = inline:{ {stop.example = retry:4.3.2 come back later} {gone.example = error:5.1.2 moved} {void.example = discard:} }
"""

    def test_classes(self):
        self.send("u@far.example")
        self.at("127.0.0.4", "u@far.example")
        self.send("info@alias.example")
        self.at("127.0.0.4", "end@far.example")
        self.send("known@relay.example")
        self.at("127.0.0.3", "known@relay.example")
        self.send("u@local.example")
        self.at("127.0.0.6", "u@local.example")
        lmtp = self.send("user@box.example")
        self.wait_log(lmtp + r": to=<user@box\.example>, relay=127\.0\.0\.2\[127\.0\.0\.2\]:25, ")

    def test_unknown_recipients(self):
        for recipient, text in (("no@relay.example", "User unknown in relay recipient table"), ("no@alias.example", "User unknown in virtual alias table"),
                                ("no@box.example", "User unknown in virtual mailbox table")):
            self.assertRegex(self.submit(MAIL, recipients=["<%s>" % recipient]), r"^550 5\.1\.1 <%s>: Recipient address rejected: %s" % (recipient, text))

    def test_by_sender(self):
        # DUNNO: no relay host at all, as in Postfix 3.7.
        for sender, recipient, where in (("boss@sender.example", "x1@far.example", "127.0.0.5"), ("any@dept.example", "x2@far.example", "127.0.0.2"),
                                         ("none@dept.example", "x3@far.example", "127.0.0.2"), ("a@sender.example", "x4@far.example", "127.0.0.4"),
                                         ("odd@sender.example", "x5@far.example", "127.0.0.3"), ("", "x6@far.example", "127.0.0.4")):
            with self.subTest(sender):
                self.send(recipient, sender="<%s>" % sender)
                self.at(where, recipient)
        # Not for what has a transport of its own.
        self.send("known@relay.example", sender="<boss@sender.example>")
        self.at("127.0.0.3", "known@relay.example")

    def test_transports_that_do_not_deliver(self):
        self.assertRegex(self.submit(MAIL, recipients=["<u@stop.example>"]), r"^450 4\.3\.2 <u@stop\.example>: Recipient address rejected: come back later")
        self.instance.command("sendmail", "-f", "a@sender.example", "u@stop.example", input="Subject: x\n\nx\n",
                              env=dict(os.environ, MAIL_CONFIG=self.instance.conf))
        first = self.wait_log(r"qmgr\[\d+\]: (\w+): from=<a@sender\.example>, size=\d+, nrcpt=1 \(queue active\)\n.* to=<u@stop").group(1)
        self.wait_log(first + r": to=<u@stop\.example>, relay=none, .*dsn=4\.3\.2, status=deferred \(come back later\)")
        second = self.send("u@void.example")
        self.wait_log(second + r": to=<u@void\.example>, relay=none, .*dsn=2\.0\.0, status=sent")
        self.assertRegex(self.submit(MAIL, recipients=["<u@gone.example>"]), r"^550 5\.1\.2 <u@gone\.example>: Recipient address rejected: moved")
        self.instance.command("super", "-d", first)

    def test_a_soft_bounce_waits(self):
        instance = self.another("soft", self.MAIN + "soft_bounce = yes\n")
        self.hops["127.0.0.4"].replies["RCPT"] = "550 5.1.1 no such user"
        queue_id = self.send("soft@far.example", instance)
        self.wait_log(queue_id + r": to=<soft@far\.example>.*status=SOFTBOUNCE", instance=instance)
        self.assertRegex(self.submit(MAIL, instance, recipients=["<no@relay.example>"]), r"^450 4\.1\.1 ")
        self.hops["127.0.0.4"].replies.clear()
        self.at("127.0.0.4", "soft@far.example")


class Probes(Base):
    """Each address_verify_* parameter that sends probes another way than mail, and those that say how long an answer counts."""
    MAIN = """relay_domains = relay.example
mydestination = local.example
local_recipient_maps =
relay_recipient_maps =
relayhost = [127.0.0.2]
local_transport = smtp:[127.0.0.2]
relay_transport = relay:[127.0.0.2]
virtual_mailbox_domains = box.example
virtual_mailbox_maps =
virtual_transport = smtp:[127.0.0.2]
address_verify_relayhost = [127.0.0.4]
address_verify_local_transport = smtp:[127.0.0.3]
address_verify_relay_transport = relay:[127.0.0.5]
address_verify_virtual_transport = smtp:[127.0.0.6]
address_verify_transport_maps = inline:{ {mapped.example = smtp:[127.0.0.3]} }
address_verify_sender_dependent_relayhost_maps = inline:{ {probe@mill.example = [127.0.0.4]} }
address_verify_sender = probe@mill.example
smtpd_recipient_restrictions = permit_mynetworks, reject
smtpd_relay_restrictions = reject_unverified_recipient, permit_mynetworks
unverified_recipient_reject_code = 550
"""

    def asked(self, recipient):
        """(address of the next hop, sender) of the probe for `recipient`; those that were asked about it."""
        return [(address, sender) for address, hop in self.hops.items() for sender, to in hop.probes if recipient in to]

    def setUp(self):
        super().setUp()
        for hop in self.hops.values():
            hop.probes, hop.last = [], ""

            def mail(argument, hop=hop):
                hop.last = argument

            def rcpt(argument, hop=hop):
                hop.probes.append((hop.last.split(" ")[0], argument.split(" ")[0]))
                return "550 5.1.1 no" if "bad" in argument else "451 4.2.0 later" if "slow" in argument else None
            hop.replies["MAIL"], hop.replies["RCPT"] = mail, rcpt

    def ask(self, recipient, instance=None):
        client = self.client(instance)
        client.say("EHLO c")
        client.say("MAIL FROM:<a@sender.example>")
        reply = client.say("RCPT TO:<%s>" % recipient)
        client.say("QUIT")
        client.close()
        return reply[:9]

    def test_ways_of_their_own(self):
        for recipient, where in (("u@far.example", "127.0.0.4"), ("u@local.example", "127.0.0.3"), ("u@relay.example", "127.0.0.5"),
                                 ("u@box.example", "127.0.0.6"), ("u@mapped.example", "127.0.0.3")):
            with self.subTest(recipient):
                self.assertEqual(self.ask(recipient), "250 2.1.5")
                self.assertEqual(self.asked(recipient), [(where, "FROM:<probe@mill.example>")])
                self.send(recipient)   # mail itself goes by the others
                self.at("127.0.0.2", recipient)

    def test_default_transport_of_probes(self):
        instance = self.another("default", self.MAIN.replace("address_verify_relayhost = [127.0.0.4]", "address_verify_relayhost =")
                                + "address_verify_sender_dependent_relayhost_maps =\naddress_verify_default_transport = smtp:[127.0.0.5]\n")
        self.assertEqual(self.ask("d@far.example", instance), "250 2.1.5")
        self.assertEqual([where for where, _ in self.asked("d@far.example")], ["127.0.0.5"])
        instance = self.another("by-sender", self.MAIN + "address_verify_sender_dependent_default_transport_maps = "
                                "inline:{ {probe@mill.example = smtp:[127.0.0.6]} }\naddress_verify_sender_dependent_relayhost_maps =\naddress_verify_relayhost =\n")
        self.assertEqual(self.ask("e@far.example", instance), "250 2.1.5")
        self.assertEqual([where for where, _ in self.asked("e@far.example")], ["127.0.0.6"])

    def test_senders(self):
        for name, value, pattern in (("null", "address_verify_sender =\n", r"FROM:<>"), ("own", "address_verify_sender = $double_bounce_sender\n", r"FROM:<double-bounce@mx\.mill\.example>"),
                                     ("moving", "address_verify_sender_ttl = 30s\n", r"FROM:<probe[0-9bcdfghjklmnpqrstvwxyz]+@mill\.example>")):
            instance = self.another(name, self.MAIN + value)
            self.assertEqual(self.ask(name + "@relay.example", instance), "250 2.1.5")
            self.assertRegex(self.asked(name + "@relay.example")[0][1], pattern)

    def test_what_is_kept_and_for_how_long(self):
        self.assertEqual([self.ask("bad1@relay.example") for _ in range(3)], ["550 5.1.1"] * 3)
        self.assertEqual(len(self.asked("bad1@relay.example")), 1)
        self.assertEqual([self.ask("good1@relay.example") for _ in range(3)], ["250 2.1.5"] * 3)
        self.assertEqual(len(self.asked("good1@relay.example")), 1)
        instance = self.another("forgets", self.MAIN + "address_verify_negative_cache = no\naddress_verify_positive_refresh_time = 1s\n"
                                "address_verify_positive_expire_time = 2s\n")
        self.assertEqual([self.ask("bad2@relay.example", instance) for _ in range(3)], ["550 5.1.1"] * 3)
        self.assertEqual(len(self.asked("bad2@relay.example")), 3)
        self.assertEqual(self.ask("good2@relay.example", instance), "250 2.1.5")
        time.sleep(1.2)
        self.assertEqual(self.ask("good2@relay.example", instance), "250 2.1.5")   # at once; the refresh is not waited for
        wait_until(lambda: len(self.asked("good2@relay.example")) == 2, 5, "the refresh")
        expired = self.another("expires", self.MAIN + "address_verify_negative_expire_time = 1s\naddress_verify_negative_refresh_time = 1s\n"
                               "address_verify_positive_expire_time = 1s\naddress_verify_positive_refresh_time = 1s\n")
        for recipient, reply in (("bad3@relay.example", "550 5.1.1"), ("good3@relay.example", "250 2.1.5")):
            self.assertEqual(self.ask(recipient, expired), reply)
            time.sleep(1.2)
            self.assertEqual(self.ask(recipient, expired), reply)
            self.assertEqual(len(self.asked(recipient)), 2)

    def test_how_long_is_waited(self):
        self.hops["127.0.0.5"].replies["RCPT"] = lambda _: time.sleep(3)
        instance = self.another("impatient", self.MAIN + "address_verify_poll_count = 1\n")
        self.assertEqual(self.ask("wait@relay.example", instance), "450 4.1.1")
        patient = self.another("patient", self.MAIN + "address_verify_poll_count = 3\naddress_verify_poll_delay = 4s\n")
        self.assertEqual(self.ask("wait@relay.example", patient), "250 2.1.5")

    def test_at_most_so_many(self):
        self.hops["127.0.0.5"].replies["RCPT"] = lambda _: time.sleep(2)
        instance = self.another("few", self.MAIN + "address_verify_pending_request_limit = 1\naddress_verify_poll_count = 1\n")
        self.assertEqual(self.ask("p1@relay.example", instance), "450 4.1.1")
        self.assertEqual(self.ask("p2@relay.example", instance)[:3], "450")
        self.wait_log(r"address verification: 1 probes are under way", instance=instance)


if __name__ == "__main__":
    if os.geteuid() != 0 or (not os.environ.get(namespace.MARK) and not namespace.possible()):
        print("no namespaces here: skipped")
        sys.exit(77)
    namespace.enter()
    case.main()
