#!/usr/bin/python3
"""After-queue filters: amavisd's two listeners, a pipe that feeds sendmail's place, FILTER; XFORWARD passes through;
mail is looked at once."""
import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port  # noqa: E402
from smtp_relay import Relay  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nbody\r\n"
LONG = (b"x" * 70 + b"\r\n") * 1024


class TwoListeners(case.Case):
    MAIN = """content_filter = amavisfeed:[127.0.0.1]:FEED
always_bcc = archive@dest.example
virtual_alias_maps = inline:{ alias@dest.example=real@dest.example }
receive_override_options = no_address_mappings
header_checks = regexp:{{/^Subject: x/ WARN}}
smtpd_recipient_restrictions = check_recipient_access inline:{ {direct@dest.example=FILTER smtp:[127.0.0.1]:NEXT} }, permit_auth_destination, reject
"""
    MASTER = """amavisfeed unix - - n - 2 lmtp
  -o lmtp_data_done_timeout=1200
  -o lmtp_send_xforward_command=yes
  -o disable_dns_lookups=yes
  -o max_use=20
127.0.0.1:BACK inet n - n - - smtpd
  -o content_filter=
  -o smtpd_delay_reject=no
  -o smtpd_client_restrictions=permit_mynetworks,reject
  -o smtpd_helo_restrictions=
  -o smtpd_sender_restrictions=
  -o smtpd_recipient_restrictions=permit_mynetworks,reject
  -o smtpd_data_restrictions=reject_unauth_pipelining
  -o smtpd_end_of_data_restrictions=
  -o smtpd_restriction_classes=
  -o mynetworks=127.0.0.0/8
  -o smtpd_error_sleep_time=0
  -o smtpd_soft_error_limit=1001
  -o smtpd_hard_error_limit=1000
  -o smtpd_client_connection_count_limit=0
  -o smtpd_client_connection_rate_limit=0
  -o receive_override_options=no_header_body_checks,no_unknown_recipient_checks,no_milters
  -o local_header_rewrite_clients=
  -o smtpd_authorized_xforward_hosts=127.0.0.0/8
"""

    @classmethod
    def prepare(cls):
        feed, back = free_port(), free_port()
        cls.relay = Relay(feed, back, lmtp=True, hold=0.1)
        cls.addClassCleanup(cls.relay.down)
        cls.MAIN = cls.MAIN.replace("FEED", str(feed)).replace("NEXT", str(cls.next.port))
        cls.MASTER = cls.MASTER.replace("BACK", str(back))

    def test_once_through(self):
        del self.relay.xforward[:]
        reply = self.submit(MAIL, recipients=("<alias@dest.example>",))
        first = self.queue_id(reply)
        got = self.next.wait(1)[0]
        self.assertEqual(sorted(r.split(">")[0] for r in got.recipients), ["TO:<archive@dest.example", "TO:<real@dest.example"])
        names = [h.split(b":")[0] for h in got.headers()]
        self.assertEqual(names[:3], [b"Received", b"X-Scanned", b"Received"])
        self.assertEqual(names.count(b"X-Scanned"), 1)
        text = " ".join(self.relay.xforward)
        for part in ("ADDR=127.0.0.1", "HELO=client.example", "PROTO=ESMTP", "IDENT=" + first):
            self.assertIn(part, text)
        self.wait_log(r"orig_queue_id=%s, orig_client=\S+\[127.0.0.1\]" % first)
        self.wait_log(first + r": to=<alias@dest.example>, relay=127.0.0.1\[127.0.0.1\]:\d+, .*status=sent \(250 2.0.0 Ok: queued as")
        self.wait_log(first + ": removed")

    def test_never_more_than_maxproc(self):
        for _ in range(8):
            self.submit(MAIL)
        self.next.wait(8)
        self.assertEqual(self.relay.most, 2)

    def test_filter_from_an_access_table(self):
        self.submit(MAIL, recipients=("<direct@dest.example>", "<c@dest.example>"))
        got = self.next.wait(1)[0]
        self.assertEqual([r.split(">")[0] for r in got.recipients], ["TO:<c@dest.example", "TO:<direct@dest.example"])
        self.assertNotIn(b"X-Scanned", got.header_bytes())
        self.wait_log(r"NOQUEUE: filter: RCPT from .* triggers FILTER smtp:")


class BeforeQueue(case.Case):
    """smtpd_proxy_filter: the filter's replies are the client's; with and without speed_adjust."""
    MAIN = """smtpd_proxy_filter = 127.0.0.1:FEED
smtpd_proxy_timeout = 5s
smtpd_milters =
"""
    MASTER = """127.0.0.1:BACK inet n - n - - smtpd -o smtpd_proxy_filter= -o smtpd_authorized_xforward_hosts=127.0.0.0/8
127.0.0.1:ADJUST inet n - n - - smtpd -o smtpd_proxy_options=speed_adjust
127.0.0.1:NOBODY inet n - n - - smtpd -o smtpd_proxy_filter=127.0.0.1:1
"""

    @classmethod
    def prepare(cls):
        feed, back, cls.adjust, cls.nobody = free_port(), free_port(), free_port(), free_port()
        cls.relay = Relay(feed, back)
        cls.addClassCleanup(cls.relay.down)
        cls.MAIN = cls.MAIN.replace("FEED", str(feed))
        cls.MASTER = cls.MASTER.replace("BACK", str(back)).replace("ADJUST", str(cls.adjust)).replace("NOBODY", str(cls.nobody))

    def message(self, port, content=MAIL):
        client = case.Client(port)
        self.addCleanup(client.close)
        return client.message(content)

    def test_passes_through(self):
        for port in (self.instance.port, self.adjust):
            self.next.clear()
            del self.relay.xforward[:]
            self.assertIn("250 2.0.0 Ok: queued as", self.message(port, MAIL + b".dot\r\n..\r\n" + LONG))
            got = self.next.wait(1)[0]
            names = [h.split(b":")[0] for h in got.headers()]
            self.assertEqual(names[:3], [b"Received", b"X-Scanned", b"Received"])
            self.assertNotIn(b" id ", got.headers()[2].split(b"\tfor")[0])
            self.assertTrue(got.body().endswith(b"\r\n.dot\r\n..\r\n" + LONG), got.content[-200:])
            self.assertIn("IDENT=[UNAVAILABLE]", " ".join(self.relay.xforward))
        self.wait_log(r"proxy-accept: END-OF-MESSAGE: 250 2.0.0 Ok: queued as")

    def test_nobody_there(self):
        self.assertEqual(self.message(self.nobody), "451 4.3.0 Error: queue file write error")
        self.wait_log(r"warning: proxy 127.0.0.1:1: connect: ")


if __name__ == "__main__":
    case.main()
