#!/usr/bin/python3
"""Addresses on their way: tables that ask servers, routes by sender, generic addresses, recipients that a milter adds;
and a table that is slow, dead or lying holds up nobody but who asked it."""
import os
import sys
import threading
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from milter_peer import CONTINUE, MilterPeer, packet  # noqa: E402
from next_hop import NextHop  # noqa: E402
from tcp_server import TcpServer  # noqa: E402

MAIL = b"From: In <in@dest.example>\r\nTo: b@dest.example, x@inside.example\r\nSubject: one\r\n" \
       b"Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-Id: <1@dest.example>\r\n\r\nin@dest.example\r\n"


class TableServer(TcpServer):
    """socketmap_table(5) over TCP.  `answers`: (map, key) -> value or a function of nothing that gives one; None is
    not found; an Exception is TEMP."""

    def __init__(self):
        self.answers, self.asked = {}, []
        super().__init__()

    def serve(self, sock):
        stream = sock.makefile("rwb")
        while True:
            length = b""
            while not length.endswith(b":"):
                byte = stream.read(1)
                if not byte:
                    return
                length += byte
            table, _, key = stream.read(int(length[:-1]) + 1)[:-1].decode().partition(" ")
            self.asked.append((table, key))
            answer = self.answers.get((table, key))
            if callable(answer):
                answer = answer()
            if isinstance(answer, bytes):
                stream.write(answer)
            else:
                text = "TEMP broken" if isinstance(answer, Exception) else "NOTFOUND " if answer is None else "OK " + answer
                stream.write(b"%d:%s," % (len(text.encode()), text.encode()))
            stream.flush()


class RemoteTables(case.Case):
    MAIN = """recipient_delimiter = +
virtual_alias_maps = socketmap:inet:127.0.0.1:%(tables)d:alias
relay_recipient_maps = proxy:socketmap:inet:127.0.0.1:%(tables)d:known
transport_maps = socketmap:inet:localhost:%(tables)d:transport
smtpd_recipient_restrictions = check_recipient_access socketmap:inet:127.0.0.1:%(tables)d:access
mydestination = local.example
local_recipient_maps = unix:passwd.byname
local_transport = relay:[127.0.0.1]:%(next)d
"""

    @classmethod
    def prepare(cls):
        cls.tables = TableServer()
        cls.addClassCleanup(cls.tables.down)
        cls.MAIN = cls.MAIN.replace("%(tables)d", str(cls.tables.port))

    def setUp(self):
        super().setUp()
        self.tables.answers.clear()
        self.tables.asked.clear()
        self.tables.answers[("known", "b@dest.example")] = "x"

    def arrives(self, count=1, **more):
        """Submits, and waits until it is at the next hop: the queue asks tables, too."""
        self.assertIn("queued as", self.submit(MAIL, **more))
        return self.next.wait(count)

    def test_found_and_not_found(self):
        self.tables.answers[("alias", "list@dest.example")] = "b@dest.example, c@dest.example"
        self.assertEqual(sorted(r.split()[0] for m in self.arrives(recipients=("<list@dest.example>",)) for r in m.recipients),
                         ["TO:<b@dest.example>", "TO:<c@dest.example>"])
        reply = self.submit(MAIL, recipients=("<nobody@dest.example>",))
        self.assertTrue(reply.startswith("550 5.1.1 <nobody@dest.example>: Recipient address rejected: User unknown in relay"), reply)
        # Whole keys alone: the server decides about the rest.
        self.assertNotIn(("known", "@dest.example"), self.tables.asked)

    def test_routes_of_the_queue(self):
        other = NextHop()
        self.addCleanup(other.down)
        self.tables.answers[("transport", "b@dest.example")] = "relay:[127.0.0.1]:%d" % other.port
        self.assertIn("queued as", self.submit(MAIL))
        self.assertEqual(other.wait(1)[0].recipients[0].split()[0], "TO:<b@dest.example>")
        self.assertEqual(self.next.messages, [])

    def test_errors_are_temporary(self):
        for table in ("alias", "known", "transport", "access"):
            with self.subTest(table):
                self.tables.answers[(table, "b@dest.example")] = ValueError()
                reply = self.submit(MAIL)
                self.assertTrue(reply.startswith("451 4.3."), reply)
                self.tables.answers[("known", "b@dest.example")] = "x"
                if table != "known":
                    del self.tables.answers[(table, "b@dest.example")]
        for lie in (b"99999999:", b"4:what,", b"3:OK x", b"hello\n", b"11:OK b@dest.e,4:OK z,"):
            with self.subTest(lie):
                self.tables.answers[("access", "b@dest.example")] = lie
                if lie == b"3:OK x":
                    lie = b"3:OK x;"
                    self.tables.answers[("access", "b@dest.example")] = lie
                reply = self.submit(MAIL)
                self.assertTrue(reply.startswith("451 4.3."), reply)
        self.tables.answers.pop(("access", "b@dest.example"))
        self.arrives()

    def test_dead_and_back(self):
        self.arrives()
        self.tables.down()
        reply = self.submit(MAIL)
        self.assertTrue(reply.startswith("451 4.3."), reply)
        self.wait_log(r"warning: connect to (127.0.0.1|localhost):%d: Connection refused" % self.tables.port)
        self.tables.up()
        self.arrives(2)

    def test_slow_for_one_alone(self):
        release = threading.Event()
        self.tables.answers[("known", "slow@dest.example")] = lambda: release.wait(10) and "x"
        replies = []
        waiting = threading.Thread(target=lambda: replies.append(self.submit(MAIL, recipients=("<slow@dest.example>",))))
        waiting.start()
        try:
            while ("known", "slow@dest.example") not in self.tables.asked:
                time.sleep(0.01)
            begin = time.monotonic()
            self.arrives()
            self.assertLess(time.monotonic() - begin, 5)
            self.assertEqual(replies, [])
        finally:
            release.set()
            waiting.join()
        self.assertIn("queued as", replies[0])
        self.next.wait(2)

    def test_users_of_the_system(self):
        self.arrives(recipients=("<Root+ext@local.example>",))
        reply = self.submit(MAIL, recipients=("<no-such-user@local.example>",))
        self.assertTrue(reply.startswith("550 5.1.1"), reply)


class Generic(case.Case):
    MAIN = """smtp_generic_maps = inline:{{in@dest.example=out@public.example}, {@inside.example=@public.example}}
sender_dependent_default_transport_maps = inline:{{special@dest.example=smtp:[127.0.0.1]:%(other)d}}
resolve_numeric_domain = yes
"""

    @classmethod
    def prepare(cls):
        cls.other = NextHop()
        cls.addClassCleanup(cls.other.down)
        cls.MAIN = cls.MAIN.replace("%(other)d", str(cls.other.port))

    def test_envelope_and_header_but_not_body(self):
        # Large enough for a side file: the header section is edited as it streams.
        for content in (MAIL, MAIL + b"0123456789\r\n" * 20000):
            self.next.clear()
            self.assertIn("queued as", self.submit(content, sender="<in@dest.example>", recipients=("<in@dest.example>", "<c@dest.example>")))
            message = self.next.wait(1)[0]
            self.assertTrue(message.sender.startswith("FROM:<out@public.example>"), message.sender)
            self.assertEqual([r.split()[0] for r in message.recipients], ["TO:<c@dest.example>", "TO:<out@public.example>"])
            headers = message.headers()
            self.assertIn(b"From: In <out@public.example>", headers)
            self.assertIn(b"To: b@dest.example, x@public.example", headers)
            self.assertEqual(message.body(), content.split(b"\r\n\r\n", 1)[1])

    def test_delivered_to_as_resolved(self):
        self.assertIn("queued as", self.submit(MAIL, recipients=("<u@198.51.100.3>",)))
        self.assertEqual(self.next.wait(1)[0].recipients[0].split()[0], "TO:<u@[198.51.100.3]>")
        self.wait_log(r"to=<u@\[198\.51\.100\.3\]>, orig_to=<u@198\.51\.100\.3>")

    def test_route_of_a_sender(self):
        self.assertIn("queued as", self.submit(MAIL, sender="<special@dest.example>", recipients=("<x@far.example>",)))
        self.assertEqual(self.other.wait(1)[0].recipients[0].split()[0], "TO:<x@far.example>")


class AddedByMilter(case.Case):
    """Recipients and a sender that a milter gives go through the tables, as if a client had named them."""
    MAIN = """smtpd_milters = %(milter)s
myorigin = dest.example
recipient_delimiter = +
virtual_alias_maps = inline:{{list@dest.example=a@dest.example,b@dest.example}, {short@dest.example=s2@dest.example}}
recipient_canonical_maps = inline:{{old@dest.example=new@dest.example}}
sender_canonical_maps = inline:{{from@dest.example=mapped@dest.example}}
"""

    @classmethod
    def prepare(cls):
        cls.edits = b""
        cls.milter = MilterPeer(cls.work, lambda event, data, number: (cls.edits if event == b"E" else b"") + CONTINUE)
        cls.addClassCleanup(cls.milter.down)
        cls.MAIN = cls.MAIN % {"milter": cls.milter.service}

    def after(self, *edits):
        type(self).edits = b"".join(packet(kind.encode(), address.encode() + b"\0") for kind, address in edits)
        self.next.clear()
        self.assertIn("queued as", self.submit(MAIL, recipients=("<first@dest.example>",)))
        message = self.next.wait(1)[0]
        return message.sender.split()[0], sorted(r.split()[0][3:] for r in message.recipients)

    def test_added_recipients(self):
        self.assertEqual(self.after(("+", "<list@dest.example>"))[1],
                         ["<a@dest.example>", "<b@dest.example>", "<first@dest.example>"])
        self.assertEqual(self.after(("+", "<old+x@dest.example>"), ("+", "short"))[1],
                         ["<first@dest.example>", "<new+x@dest.example>", "<s2@dest.example>"])
        self.assertEqual(self.after(("-", "<first@dest.example>"), ("+", "<c@dest.example>"))[1], ["<c@dest.example>"])

    def test_changed_sender(self):
        self.assertEqual(self.after(("e", "<from@dest.example>"))[0], "FROM:<mapped@dest.example>")


class Refused(case.Case):
    def test_types_that_will_be_plugins(self):
        for name, why in (("ldap:/etc/ldap.cf", b"will be plugins"), ("proxy:mysql:/x", b"will be plugins"),
                          ("proxy:texthash:/etc/hosts", b"proxy_read_maps")):
            with self.subTest(name):
                instance = self.make("refused-" + name[:5], "proxy_read_maps = proxy:mysql:/x\ntransport_maps = %s\n" % name)
                done = self.run_tool(case.BINARY, "-c", instance.conf, "check", status=None)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(why, done.stdout + done.stderr)


if __name__ == "__main__":
    case.main()
