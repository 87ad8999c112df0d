#!/usr/bin/python3
"""plugin:dkim over SMTP: verdicts as dkimpy's and Mail::DKIM's wherever these two agree, signatures that both verify,
what is done by result, whose mail is signed, keys that are refused.  In a mount and a network namespace of its own, so
that the test can be the name server."""
import os
import re
import shutil
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
import namespace  # noqa: E402
from instance import free_port, mail_owner  # noqa: E402
from name_server import NameServer  # noqa: E402

try:
    import dkim_messages as messages
except ImportError as missing:
    print("skipped: %s" % missing)
    sys.exit(77)


def results(message):
    """What our Authentication-Results field says: [(result, text)]."""
    fields = [f.decode("latin-1") for f in message.headers() if f.lower().startswith(b"authentication-results: mx.mill.example;")]
    return re.findall(r"dkim=(\w+)([^;]*)", " ".join(fields))


class Dkim(case.Case):
    """A name server with the keys, and the plugins where the server looks for them."""
    PLUGINS = "plugin_directory = %(work)s/plugins\n"

    @classmethod
    def prepare(cls):
        cls.keys = messages.Keys(cls.work)
        cls.names = NameServer(cls.keys.zone(), port=53)
        cls.addClassCleanup(cls.names.stop)
        os.mkdir(cls.work + "/plugins", 0o755)
        shutil.copy(os.path.join(os.path.dirname(case.BINARY), "plugins", "dkim.so"), cls.work + "/plugins/dkim.so")
        os.chmod(cls.work + "/plugins/dkim.so", 0o644)

    MADE = {}

    def made(self):
        """The messages of dkim_messages, signed once for a class."""
        if self.keys.work not in self.MADE:
            self.MADE[self.keys.work] = messages.make(self.keys)
        return self.MADE[self.keys.work]

    def numbered(self, contents):
        """Each with a field that tells which it is, below what is signed."""
        return [content.replace(b"X-Empty:\r\n", b"X-Empty:\r\nX-Number: %d\r\n" % n) for n, content in enumerate(contents)]

    def through(self, contents, instance=None):
        client = self.client(instance)
        for content in self.numbered(contents):
            self.assertIn("queued as", client.message(content))
        client.say("QUIT")
        out = [None] * len(contents)
        for message in self.next.wait(len(contents), 60):
            out[int(re.search(rb"^X-Number: (\d+)", message.header_bytes(), re.M).group(1))] = message
        self.next.clear()
        return out


class Verify(Dkim):
    # Both peers take rsa-sha1, which our default does not (RFC 8301): compared where it is asked for.
    MAIN = Dkim.PLUGINS + "smtpd_filters = { plugin:dkim/verify, rsa_sha1=accept }\n"

    def test_agrees_with_dkimpy_and_mail_dkim(self):
        made = self.made()
        contents = self.numbered(list(made.values()))
        perl = messages.mail_dkim_passes(self.keys, contents)
        agreed = passed = 0
        for name, content, theirs, message in zip(made, contents, perl, self.through(list(made.values()))):
            with self.subTest(name):
                said = results(message)
                self.assertTrue(said, message.header_bytes())
                if messages.dkimpy_passes(self.keys, content) == theirs:
                    agreed += 1
                    passed += theirs
                    self.assertEqual("pass" in [result for result, _ in said], theirs, (said, message.header_bytes()))
        self.assertGreater(agreed, 180)
        self.assertGreater(passed, 90)

    def test_results_and_reasons(self):
        made = self.made()
        expected = {
            "unsigned": [("none", "")],
            "key revoked": [("permerror", 'reason="key revoked"')],
            "key absent": [("permerror", 'reason="no key for signature"')],
            "key bad": [("permerror", 'reason="the key cannot be used"')],
            "key of 768 bits": [("policy", 'reason="key of 768 bits is too short"')],
            "by hand, expired": [("permerror", 'reason="signature expired"')],
            "by hand, twice": [("neutral", 'reason="the signature is no tag list"')],
            "Ed25519": [("pass", "header.a=ed25519-sha256")],
            "Ed25519, body longer": [("fail", 'reason="body hash did not verify"')],
            "dkimpy, other subject, plain relaxed/simple": [("fail", 'reason="signature did not verify"')],
            "dkimpy, l=, body longer, plain simple/simple": [("pass", "octets of the body are not signed")],
            "two, one without a key": [("permerror", "header.s=absent"), ("pass", "header.s=sel")],
            "Ed25519 and RSA": [("pass", "header.a=rsa-sha256"), ("pass", "header.a=ed25519-sha256")],
        }
        for (name, wanted), message in zip(expected.items(), self.through([made[name] for name in expected])):
            with self.subTest(name):
                said = results(message)
                self.assertEqual([result for result, _ in said], [result for result, _ in wanted])
                for (_, text), (_, part) in zip(said, wanted):
                    self.assertIn(part, text)
        good = self.through([made["two"]])[0]
        self.assertIn("header.d=sender.example", results(good)[0][1])
        self.assertIn("header.i=@sender.example", results(good)[0][1])
        self.assertRegex(results(good)[0][1], r'header\.b="?[A-Za-z0-9+/]{8}')
        self.wait_log(r"dkim=pass; d=sender.example; s=small; key=1024")

    def test_what_is_done_by_result(self):
        made = self.made()
        strict = self.make("strict", (self.PLUGINS + "smtpd_filters = { plugin:dkim/verify, on_fail=reject, on_none=reject, on_policy=reject, "
                           "on_permerror=tempfail, on_temperror=tempfail, on_neutral=hold, max_signatures=1, partial_body=policy, "
                           "lookup_time=5 }\n"))
        self.names.records[("broken._domainkey.sender.example", "TXT")] = None
        strict.start()
        self.addCleanup(strict.stop)
        expected = {
            "key bare": "250 2.0.0 Ok",
            "unsigned": "550 5.7.20 No passing DKIM signature found: message not signed",
            "dkimpy, body longer, plain simple/simple": "550 5.7.20 No passing DKIM signature found: body hash did not verify",
            "key of 768 bits": "550 5.7.21 No acceptable DKIM signature found: key of 768 bits is too short",
            "dkimpy, l=, body longer, plain simple/simple": "550 5.7.21 No acceptable DKIM signature found: 10 octets of the body are not signed",
            "key revoked": "451 4.7.20 No passing DKIM signature found: key revoked",
            "two, one without a key": "451 4.7.20 No passing DKIM signature found: no key for signature",
        }
        for name, reply in expected.items():
            with self.subTest(name):
                self.assertTrue(self.submit(made[name], strict).startswith(reply), self.submit(made[name], strict))
        plain = messages.message(messages.BODIES["plain"])
        self.assertTrue(self.submit(messages.by_dkimpy(self.keys, plain, "broken"), strict).startswith(
            "451 4.7.5 Unable to verify DKIM signature: no answer from DNS"))
        held = self.queue_id(self.submit(made["by hand, twice"], strict))
        self.assertIn(held + "!", strict.command("queue", "-p").stdout)

    def test_engine_of_libopendkim(self):
        other = self.make("other", self.PLUGINS + "smtpd_filters = { plugin:dkim/verify, engine=opendkim, rsa_sha1=accept }\n")
        other.start()
        self.addCleanup(other.stop)
        made = self.made()
        names = [name for name in made if not name.startswith("by hand")]
        contents = [made[name] for name in names]
        for name, a, b in zip(names, self.through(contents), self.through(contents, other)):
            with self.subTest(name):
                one, two = ([result for result, _ in results(message)] for message in (a, b))
                if name == "key of 768 bits":      # the library refuses it before we do
                    self.assertEqual((one, two), (["policy"], ["permerror"]))
                    continue
                self.assertEqual("pass" in one, "pass" in two, (results(a), results(b)))

    @unittest.skipUnless(shutil.which("opendkim"), "no opendkim")
    def test_what_opendkim_signed(self):
        from peers import OpenDkim  # pylint: disable=import-outside-toplevel
        for number, (header, body) in enumerate(messages.CANONS):
            canon = (header + b"/" + body).decode()
            work = os.path.join(self.work, "opendkim%d" % number)
            os.mkdir(work)
            shutil.copy(self.keys.path("sel"), os.path.join(work, "dkim.key"))
            signer = OpenDkim(work, "s", socket_at="inet:%d@127.0.0.1" % free_port(), canonicalization=canon)
            self.addCleanup(signer.end)
            server = self.make("signs%d" % number, "smtpd_milters = %s\n" % signer.milter)
            server.start()
            self.addCleanup(server.stop)
            signed = [m.content for m in self.through([messages.message(b) for b in messages.BODIES.values()], server)]
            # Received and the queue's own fields stand above what was signed.
            for name, content, altered in ((n, c, a) for n, c in zip(messages.BODIES, signed) for a in (False, True)):
                with self.subTest(canon=canon, body=name, altered=altered):
                    if altered:
                        content += b"more\r\n"
                    self.assertEqual(messages.dkimpy_passes(self.keys, content), not altered)
                    self.submit(content)
                    message = self.next.wait(1)[0]
                    self.next.clear()
                    self.assertEqual([result for result, _ in results(message)], ["fail" if altered else "pass"])
            server.stop()
            signer.end()


class Sign(Dkim):
    FILTERS = "smtpd_filters = { plugin:dkim/sign, %s }\n"
    TABLES = "key_table=%(work)s/keys.table, signing_table=refile:%(work)s/signing.table, internal_hosts=127.0.0.1"
    MAIN = Dkim.PLUGINS + "plugin_private_files = %(work)s/*.key\n" + FILTERS % TABLES

    @classmethod
    def prepare(cls):
        super().prepare()
        for name in os.listdir(cls.work):
            if name.endswith(".key"):
                os.chmod(os.path.join(cls.work, name), 0o600)     # root's: the server's user cannot read them
        cls.write("keys.table", "rsa sender.example:sel:%s\nsmall sender.example:small:%s\ned sender.example:ed:%s\n"
                  % tuple(cls.keys.path(s) for s in ("sel", "small", "ed")))
        cls.write("signing.table", "ed@sender.example ed\n*@sender.example rsa\n*@sub.sender.example small a@%\n")

    @classmethod
    def write(cls, name, text):
        with open(os.path.join(cls.work, name), "w", encoding="ascii") as out:
            out.write(text)

    def verified(self, content):
        return messages.dkimpy_passes(self.keys, content), messages.mail_dkim_passes(self.keys, [content])[0]

    def test_both_verify_what_we_sign(self):
        for engine in ("openssl", "opendkim"):
            for header, body in messages.CANONS:
                canon = (header + b"/" + body).decode()
                server = self.make("sign-%s-%s" % (engine, canon.replace("/", "-")), self.PLUGINS + "plugin_private_files = %(work)s/*.key\n" +
                                   self.FILTERS % (self.TABLES + ", oversign_headers=from:to:reply-to, engine=%s, canonicalization=%s" % (engine, canon)))
                server.start()
                self.addCleanup(server.stop)
                for name, message in zip(messages.BODIES, self.through([messages.message(b) for b in messages.BODIES.values()], server)):
                    with self.subTest(engine=engine, canon=canon, body=name):
                        field = [f for f in message.headers() if f.startswith(b"DKIM-Signature:")]
                        self.assertEqual(len(field), 1)
                        self.assertEqual(self.verified(message.content), (True, True), message.header_bytes())
                        self.assertEqual(self.verified(message.content.replace(b"Subject: signed", b"Subject: other")), (False, False))
                        self.assertEqual(self.verified(b"Reply-To: x@evil.example\r\n" + message.content), (False, False))
                server.stop()

    def test_by_sender(self):
        plain = messages.message(messages.BODIES["plain"])
        ed = plain.replace(b"A <a@sender", b"<ed@sender")
        sub = plain.replace(b"A <a@sender", b'"x@evil.example" <a@sub.sender')
        other = plain.replace(b"a@sender.example", b"a@elsewhere.example")
        got = [message.content for message in self.through([plain, ed, sub, other])]
        fields = [re.findall(rb"^DKIM-Signature:.*(?:\r?\n[ \t].*)*", content, re.M) for content in got]
        self.assertEqual([len(f) for f in fields], [1, 1, 1, 0])
        for field, parts in zip(fields, ((b"s=sel", b"a=rsa-sha256"), (b"s=ed;", b"a=ed25519-sha256"), (b"s=small", b"i=a@sub.sender.example"))):
            for part in parts:
                self.assertIn(part, field[0])
        self.assertTrue(all(messages.dkimpy_passes(self.keys, content) for content in got[:3]))

    def test_only_our_own_mail(self):
        plain = messages.message(messages.BODIES["plain"])
        client = self.client(source="127.0.0.2")
        self.assertIn("queued as", client.message(plain))
        self.assertNotIn(b"DKIM-Signature", self.next.wait(1)[0].header_bytes())

    def test_keys_that_others_may_read(self):
        loose = os.path.join(self.work, "loose.private")
        shutil.copy(self.keys.path("sel"), loose)
        os.chmod(loose, 0o640)
        shutil.chown(loose, mail_owner())
        single = "domain=sender.example, selector=sel, key_file=" + loose
        for name, main in (("own", ""), ("listed", "plugin_private_files = %s\n" % loose)):
            server = self.make("refused-" + name, self.PLUGINS + main + self.FILTERS % single)
            done = subprocess.run([case.BINARY, "-c", server.conf, "start-fg"], capture_output=True, text=True, timeout=30, check=False)
            self.assertNotEqual(done.returncode, 0)
            said = done.stderr + done.stdout + (server.log_text() if os.path.exists(server.log) else "")
            self.assertIn(loose + ":", said)
            self.assertIn("set its mode to 0600", said)
            self.assertNotIn("PRIVATE KEY", said)

    def test_who_edits_after_the_signer(self):
        order = self.make("order", self.PLUGINS + "plugin_private_files = %(work)s/*.key\nsmtpd_filters = { plugin:dkim/sign, " + self.TABLES +
                          " }, plugin:dkim/verify\n")
        done = subprocess.run([case.BINARY, "-c", order.conf, "check"], capture_output=True, text=True, timeout=30, check=False)
        if done.returncode == 0:      # put in order, rather than refused
            order.start()
            self.addCleanup(order.stop)
            content = self.through([messages.message(b"x\r\n")], order)[0].content
            self.assertEqual(re.findall(rb"dkim=(\w+)", content), [b"none"])
            self.assertTrue(messages.dkimpy_passes(self.keys, content))
        else:
            self.assertIn("plugin:dkim/sign must stand after plugin:dkim/verify", done.stderr + done.stdout)


class Tools(Dkim):
    MAIN = Dkim.PLUGINS

    def test_genkey(self):
        for more, kind, bits in (((), "rsa", "2048"), (("-b", "4096"), "rsa", "4096"), (("--ed25519",), "ed25519", "")):
            selector = "g" + kind + bits
            done = self.run_tool(case.BINARY, "dkim", "genkey", "-d", "sender.example", "-s", selector, "-D", self.work, *more)
            text = done.stdout.decode()
            self.assertTrue(text.startswith(selector + "._domainkey.sender.example.\tIN\tTXT\t( \""), text)
            strings = re.findall(r'"([^"]*)"', text)
            self.assertLessEqual(max(map(len, strings)), 255)
            path = os.path.join(self.work, selector + ".private")
            self.assertEqual(os.stat(path).st_mode & 0o7777, 0o600)
            self.assertNotIn("PRIVATE", text + done.stderr.decode())
            record = "".join(strings)
            self.assertTrue(record.startswith("v=DKIM1; k=%s; p=" % kind))
            self.keys.records[self.keys.name(selector)] = record
            if kind == "rsa":
                shutil.copy(path, self.keys.path(selector))
                signed = messages.by_dkimpy(self.keys, messages.message(b"x\r\n"), selector, selector)
                self.assertTrue(messages.dkimpy_passes(self.keys, signed))
            again = self.run_tool(case.BINARY, "dkim", "genkey", "-d", "sender.example", "-s", selector, "-D", self.work, *more, status=1)
            self.assertIn(b"File exists", again.stderr)
        for wrong in ((), ("-d", "a..b", "-s", "x"), ("-d", "a.example"), ("-d", "a.example", "-s", "x", "-b", "512"),
                      ("-d", "a.example", "-s", "../x"), ("-d", "a.example", "-s", "x", "-b", "2048", "--ed25519")):
            self.assertIn(self.run_tool(case.BINARY, "dkim", "genkey", *wrong, status=None).returncode, (1, 2))

    def test_conforms(self):
        done = self.run_tool(case.BINARY, "plugin", "check", self.work + "/plugins/dkim.so")
        self.assertIn(b"conforms", done.stdout)



if __name__ == "__main__":
    if not os.environ.get(namespace.MARK) and not namespace.possible():
        print("no namespaces here: skipped")
        sys.exit(77)
    namespace.enter()
    unittest.TestCase.longMessage = True
    case.main()
