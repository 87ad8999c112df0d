#!/usr/bin/python3
"""What goes in comes out: mail from swaks, smtp-source, smtplib and curl reaches the next hop with an identical
body and identical headers in order, but for one Received line on top and what the configuration adds."""
import os
import random
import shutil
import smtplib
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from next_hop import Recorder, header_list, split_content  # noqa: E402

random.seed(20)
HEAD = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: one\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n" \
       b"Message-Id: <%d@sender.example>\r\n"
PLAIN = HEAD % 1 + b"\r\nhello\r\n"


def eight_bit(size, avoid=b"\r\n\0"):
    """Bytes of all kinds but line ends, in lines of up to 900."""
    pool = bytes(b for b in range(256) if b not in avoid)
    out = bytearray()
    while len(out) < size:
        out += bytes(random.choices(pool, k=random.randint(0, 900))) + b"\r\n"
    return bytes(out)


class Fidelity(case.Case):
    MAIN = """local_header_rewrite_clients =
message_size_limit = 40000000
smtp_line_length_limit = 0
smtpd_tls_security_level = may
smtpd_tls_cert_file = %(work)s/cert.pem
smtpd_tls_key_file = %(work)s/key.pem
smtpd_forbid_bare_newline_exclusions =
"""
    EXTENSIONS = ("PIPELINING", "SIZE 0", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8")

    @classmethod
    def prepare(cls):
        case.certificate(cls.work)

    def same(self, sent, message):
        """`message` is `sent` with one Received line on top."""
        headers = message.headers()
        self.assertTrue(headers and headers[0].startswith(b"Received: from "), headers[:1])
        self.assertEqual(headers[1:], header_list(sent))
        body, wanted = message.body(), split_content(sent)[1]
        if body != wanted:
            at = next((i for i, (x, y) in enumerate(zip(body or b"", wanted or b"")) if x != y), -1)
            self.fail("body differs at %d: %d octets came, %d were sent: %r for %r" % (
                at, len(body or b""), len(wanted or b""), (body or b"")[at - 20:at + 40], (wanted or b"")[at - 20:at + 40]))

    def through(self, content, expected=None):
        self.next.clear()
        reply = self.submit(content)
        self.assertTrue(reply.startswith("250 2.0.0 Ok: queued as"), reply)
        self.same(content if expected is None else expected, self.next.wait(1)[0])

    def test_shapes_of_content(self):
        for name, content in {
                "plain": PLAIN,
                "no body": HEAD % 2 + b"\r\n",
                "blank lines": HEAD % 3 + b"\r\n\r\n\r\n\r\n",
                "lone dots": HEAD % 4 + b"\r\n.\r\n..\r\n...\r\n.x\r\n..x\r\n\r\n.\r\n",
                "dot last": HEAD % 5 + b"\r\nx\r\n.\r\n",
                "all octets": HEAD % 6 + b"\r\n" + bytes(b for b in range(256) if b not in b"\r\n\0") + b"\r\n",
                "eight bit": HEAD % 7 + b"\r\n" + eight_bit(300000),
                "spaces at line ends": HEAD % 8 + b"\r\na \t \r\n \r\n\t\r\n",
                "long line": HEAD % 9 + b"\r\n" + b"x" * 5000 + b"\r\ny\r\n" + b"z" * 500000 + b"\r\n",
                "long dotted line": HEAD % 10 + b"\r\n" + b"." * 100000 + b"\r\n",
                "from line in body": HEAD % 11 + b"\r\nFrom me\r\n>From you\r\n",
                "folded": HEAD % 12 + b"X-Folded: a\r\n b\r\n\tc\r\n   d\r\nX-Empty:\r\nX-Space: \r\nX-Tabs:\t\tx\r\n\r\nb\r\n",
                "odd order": b"To: x@y\r\nReceived: from elsewhere\r\n\tby here; Thu, 1 Jan 1970 00:00:00 +0000\r\n"
                             + HEAD % 13 + b"Received: (x)\r\nX-A: 1\r\nx-a: 2\r\nCc: c@d\r\n\r\nb\r\n",
                "addresses untouched": b"From: \"A, B\" <A@Sender.Example> (c), Group: x@y, z ;\r\nReply-To: plain\r\n"
                                       b"To: undisclosed-recipients:;\r\n" + HEAD % 14 + b"\r\nb\r\n",
                "utf-8 header": HEAD % 15 + "X-Name: Ärger ☃\r\n\r\nb\r\n".encode(),
                "latin-1 header": HEAD % 16 + b"X-Name: \xc4rger\r\n\r\nb\r\n",
                "long header": HEAD % 17 + b"X-Long: " + b"y" * 3000 + b"\r\n\r\nb\r\n",
                "long folded header": HEAD % 18 + b"X-Long: " + b"\r\n ".join([b"y" * 900] * 50) + b"\r\n\r\nb\r\n",
                "many headers": HEAD % 19 + b"".join(b"X-%d: %d\r\n" % (i, i) for i in range(2000)) + b"\r\nb\r\n",
                "mime": HEAD % 21 + b"MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\npre\r\n--b\r\n"
                        b"\r\n\xe4\r\n--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n--b--\r\npost\r\n",
        }.items():
            with self.subTest(name):
                self.through(content)

    def test_content_without_header_end(self):
        # A body line where a header should be: the blank line that the content lacks is made.
        with self.subTest("body at once"):
            self.through(b"\r\nonly body\r\n", b"\r\nonly body\r\n")
        with self.subTest("text without header"):
            self.through(b"just text\r\nmore\r\n", b"\r\njust text\r\nmore\r\n")
        with self.subTest("text after headers"):
            self.through(HEAD % 22 + b"no header here\r\n", HEAD % 22 + b"\r\nno header here\r\n")
        with self.subTest("headers only"):
            self.through(HEAD % 23, HEAD % 23 + b"\r\n")
        # Postfix takes the space before a colon away.
        with self.subTest("space before the colon"):
            self.through(HEAD % 20 + b"X-Spaced : v\r\n\r\nb\r\n", HEAD % 20 + b"X-Spaced: v\r\n\r\nb\r\n")

    def test_sizes(self):
        # Around the side-file threshold (16 KiB), the buffers, and up to 20 MB.
        for size in (1, 1000, 4096, 16000, 16383, 16384, 16385, 65535, 65536, 65537, 1000003, 20000000):
            with self.subTest(size):
                line = eight_bit(76 * 400)[:76 * 400].replace(b"\r", b"r").replace(b"\n", b"n")
                text = b"".join(line[i:i + 76] + b"\r\n" for i in range(0, len(line), 76))
                body = (text * (size // len(text) + 1))[:size]
                if not body.endswith(b"\r\n"):
                    body += b"\r\n"
                self.through(HEAD % size + b"\r\n" + body.replace(b"\r\n.", b"\r\nx"))

    def test_nul(self):
        # Postfix keeps NUL as it is unless message_strip_characters says otherwise.
        self.through(HEAD % 30 + b"\r\na\0b\r\n")

    def test_bdat(self):
        def send(chunks, ending=b""):
            client = self.client()
            client.say("EHLO client.example")
            client.say("MAIL FROM:<a@sender.example> BODY=8BITMIME")
            client.say("RCPT TO:<b@dest.example>")
            for number, chunk in enumerate(chunks):
                last = " LAST" if number == len(chunks) - 1 else ""
                client.send(b"BDAT %d%s\r\n" % (len(chunk), last.encode()) + chunk + (ending if last else b""))
                reply = client.reply()
                self.assertTrue(reply.startswith("250"), reply)
            client.close()
        body = b".\r\n..\r\n.x\r\n" + eight_bit(100000) + b".\r\n"
        whole = HEAD % 31 + b"\r\n" + body
        for name, chunks in {"one": [whole], "bytes": [bytes([b]) for b in PLAIN], "empty last": [PLAIN, b""],
                             "split line ends": [whole[:len(HEAD % 31) - 1], whole[len(HEAD % 31) - 1:len(whole) - 1],
                                                 whole[-1:]]}.items():
            with self.subTest(name):
                self.next.clear()
                send(chunks)
                self.same(b"".join(chunks), self.next.wait(1)[0])
        with self.subTest("no newline at the end"):
            self.next.clear()
            send([PLAIN[:-2]])
            self.same(PLAIN, self.next.wait(1)[0])
        with self.subTest("dot line in the middle ends nothing"):
            self.next.clear()
            send([HEAD % 32 + b"\r\na\r\n.\r\nMAIL FROM:<evil@x>\r\n"])
            self.same(HEAD % 32 + b"\r\na\r\n.\r\nMAIL FROM:<evil@x>\r\n", self.next.wait(1)[0])

    def test_smuggling_stays_one_message(self):
        for ending in (b"\n.\n", b"\r\n.\n", b"\n.\r\n", b"\r.\r", b"\r\n.\r", b"\r.\r\n"):
            with self.subTest(ending):
                self.next.clear()
                client = self.client()
                for line in ("EHLO c", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>", "DATA"):
                    reply = client.say(line)
                client.send(PLAIN + b"x" + ending + b"MAIL FROM:<evil@sender.example>\r\nRCPT TO:<b@dest.example>\r\nDATA\r\n"
                            b"evil\r\n.\r\n")
                reply = client.reply()
                self.assertTrue(reply.startswith(("250", "521", "550")), reply)
                if reply.startswith("250"):
                    messages = self.next.wait(1)
                    client.say("NOOP")
                    self.assertEqual(len(messages), 1)
                    self.assertIn(b"evil\r\n", messages[0].content)
                    self.assertNotIn(b"\n.\n", messages[0].content)
                client.close()

    def recorded(self, *command, count=1, **more):
        recorder = Recorder(self.instance.port)
        self.next.clear()
        self.run_tool(*[str(c) % {"port": recorder.port} for c in command], **more)
        messages = list(self.next.wait(count, 40))
        recorder.close()
        sent = [content if b":" in content.split(b"\r\n")[0].split(b" ")[0] or content.startswith(b"\r\n") else
                b"\r\n" + content for content in recorder.contents()]    # old mode sends no headers
        self.assertEqual(len(sent), count)
        self.assertEqual(len(messages), count)
        if count == 1:
            self.same(sent[0], messages[0])
        rest = sorted(b"\r\n".join(header_list(c)) + b"\r\n\r\n" + (split_content(c)[1] or b"") for c in sent)
        came = sorted(b"\r\n".join(m.headers()[1:]) + b"\r\n\r\n" + (m.body() or b"") for m in messages)
        self.assertEqual(rest, came)
        return messages

    @unittest.skipUnless(shutil.which("smtp-source"), "no smtp-source")
    def test_smtp_source(self):
        file = os.path.join(self.work, "source.eml")
        with open(file, "wb") as out:
            out.write((HEAD % 40 + b"\r\n.\r\n..\r\n\r\n" + eight_bit(40000)).replace(b"\r\n", b"\n"))
        to = ("-f", "a@sender.example", "-t", "b@dest.example", "127.0.0.1:%(port)d")
        for name, options, count, recipients in (
                ("one", (), 1, 1), ("counter", ("-c",), 1, 1), ("length", ("-l", "300000"), 1, 1),
                ("subject", ("-S", "something else"), 1, 1), ("name", ("-M", "client.example"), 1, 1),
                ("recipients", ("-r", "20", "-N"), 1, 20), ("many", ("-s", "10", "-m", "60"), 60, 1),
                ("one connection", ("-d", "-m", "30"), 30, 1), ("sessions kept", ("-d", "-s", "5", "-m", "50", "-l", "20000"), 50, 1),
                ("file", ("-F", file), 1, 1), ("window", ("-T", "1024", "-l", "100000"), 1, 1),
                ("numbered", ("-N", "-m", "10", "-s", "2"), 10, 1), ("pauses", ("-R", "1", "-m", "2"), 2, 1),
                ("delay", ("-w", "1", "-m", "2", "-s", "2"), 2, 1), ("abort not", ("-A",), 1, 1),
                ("connect retries", ("-C", "3"), 1, 1), ("verbose", ("-v",), 1, 1), ("ipv4", ("-4",), 1, 1)):
            with self.subTest(name):
                messages = self.recorded("smtp-source", *options, *to, count=count)
                for message in messages:
                    self.assertEqual(len(message.recipients), recipients)
        with self.subTest("old mode: no HELO, no headers"):
            messages = self.recorded("smtp-source", "-o", *to)

    @unittest.skipUnless(shutil.which("swaks"), "no swaks")
    def test_swaks(self):
        binary = os.path.join(self.work, "blob.bin")
        with open(binary, "wb") as out:
            out.write(random.randbytes(150000))
        text = os.path.join(self.work, "eight.txt")
        with open(text, "wb") as out:
            out.write("Ärger mit Umlauten ☃\n.\n..\nlang: ".encode() + b"x" * 2500 + b"\n")
        base = ("swaks", "--server", "127.0.0.1:%(port)d", "--from", "a@sender.example", "--to", "b@dest.example",
                "--helo", "client.example", "--silent", "2")
        for name, options in {
                "default": (), "pipelined": ("--pipeline",), "attachment": ("--attach", "@" + binary),
                "typed attachments": ("--attach-type", "image/png", "--attach-name", "ü.png", "--attach", "@" + binary,
                                      "--attach-type", "text/plain", "--attach", "@" + text, "--attach-body", "text"),
                "8-bit body": ("--body", "@" + text), "header": ("--header", "X-Test: 1", "--h-Subject", "Grüße"),
                "several recipients": ("--to", "b@dest.example,c@dest.example,d@dest.example"),
                "null sender": ("--from", "<>"), "helo": ("--protocol", "SMTP"),
                "no data fixup": ("--data", PLAIN.decode().replace("\r\n", "\\n"))}.items():
            with self.subTest(name):
                self.recorded(*base, *options)
        for name, options in {"tls": ("--tls",), "tls attachment": ("--tls", "--attach", "@" + binary),
                              "tls pipelined": ("--tls", "--pipeline")}.items():
            with self.subTest(name):
                self.next.clear()
                file = os.path.join(self.work, "tls.eml")
                with open(file, "wb") as out:
                    out.write((HEAD % 50 + b"\r\nin the tunnel\r\n").replace(b"\r\n", b"\n"))
                command = [c % {"port": self.instance.port} for c in base if c not in ("--silent", "2")]
                extra = options if "--attach" in options else options + ("--data", "@" + file)
                done = self.run_tool(*command, *extra)
                message = self.next.wait(1)[0]
                self.assertIn(b" with ESMTPS id ", message.headers()[0])
                lines = [line[4:] for line in done.stdout.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b" ~> ")]
                lines = lines[lines.index(b"DATA") + 1:]
                sent = b"\r\n".join(lines[:lines.index(b".")]) + b"\r\n"
                self.same(sent, message)

    def test_smtplib(self):
        for name, use in {"plain": {}, "8-bit": {"mail_options": ("BODY=8BITMIME",)},
                          "utf-8": {"mail_options": ("SMTPUTF8", "BODY=8BITMIME")},
                          "notify": {"rcpt_options": ("NOTIFY=NEVER",)}}.items():
            with self.subTest(name):
                self.next.clear()
                content = HEAD % 60 + "X-U: ü\r\n\r\nSchöne Grüße\r\n.\r\n".encode()
                with smtplib.SMTP("127.0.0.1", self.instance.port) as client:
                    if name != "plain":
                        client.starttls(context=__import__("ssl")._create_unverified_context())
                    client.ehlo()
                    client.sendmail("a@sender.example", ["b@dest.example", "c@dest.example"], content, **use)
                message = self.next.wait(1)[0]
                self.same(content, message)
                self.assertEqual(len(message.recipients), 2)
                if name == "utf-8":
                    self.assertIn("SMTPUTF8", message.sender)
                if name == "notify":
                    self.assertIn("NOTIFY=NEVER", message.recipients[0])

    @unittest.skipUnless(shutil.which("curl"), "no curl")
    def test_curl(self):
        content = HEAD % 70 + b"\r\n.dot\r\n..\r\n.\r\nlast\r\n"
        file = os.path.join(self.work, "curl.eml")
        for name, ending, extra in (("plain", b"", ()), ("no newline", b"tail", ()), ("tls", b"", ("--ssl-reqd", "-k")),
                                    ("chunked upload", b"", ("-T", "-"))):
            with self.subTest(name):
                self.next.clear()
                with open(file, "wb") as out:
                    out.write(content + ending)
                upload = () if "-T" in extra else ("-T", file)
                with open(file, "rb") as source:
                    self.run_tool("curl", "-sS", "smtp://127.0.0.1:%d/client.example" % self.instance.port, "--mail-from",
                                  "a@sender.example", "--mail-rcpt", "b@dest.example", "--mail-rcpt", "c@dest.example",
                                  *upload, *extra, stdin=source)
                self.same(content + (ending + b"\r\n" if ending else b""), self.next.wait(1)[0])


class Additions(case.Case):
    """Defaults: what a local client lacks is added, and long lines are folded for the next hop."""

    def test_missing_headers_are_added(self):
        self.submit(b"Subject: bare\r\n\r\nx\r\n")
        names = [h.split(b":")[0].lower() for h in self.next.wait(1)[0].headers()]
        self.assertEqual(sorted(names[:1] + names[1:]), sorted([b"received", b"subject", b"message-id", b"date", b"from"]))

    def test_long_lines_are_folded(self):
        self.submit(PLAIN + b"x" * 3000 + b"\r\n")
        body = self.next.wait(1)[0].body()
        self.assertLessEqual(max(len(line) for line in body.split(b"\r\n")), 998)
        self.assertEqual(body.replace(b"\r\n ", b""), b"hello\r\n" + b"x" * 3000 + b"\r\n")


if __name__ == "__main__":
    case.main()
