#!/usr/bin/python3
"""The milters Debian has, behind Millrace, alone and in a chain; and each message again through the same milter behind
Debian's Postfix: what the client is told and what is delivered must be the same.  What is not installed is skipped with its
name (contrib/packages.sh installs all of it)."""
import os
import pwd
import re
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import free_port, listening, wait_until  # noqa: E402
from peers import OpenDkim, ends  # noqa: E402
import postfix  # noqa: E402

try:
    import Milter
except ImportError:
    Milter = None

MAIL = b"From: A <a@sender.example>\r\nTo: b@dest.example\r\nSubject: hello\r\nDate: Sat, 21 Nov 2026 10:00:00 +0000\r\n" \
       b"Message-Id: <1@sender.example>\r\n\r\nHello,\r\n\r\nthis is it.\r\n"
EICAR = rb"X5O!P%@AP[4\PZX54(P^)7CC)7}$" + rb"EICAR-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
GTUBE = b"XJS*C4JDBQADN1.NSBN3*2IDNEN*" + b"GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

PYMILTER = '''
import sys, Milter
class Sample(Milter.Base):
    @Milter.noreply
    def connect(self, name, family, address):
        return Milter.CONTINUE
    def envrcpt(self, to, *parameters):
        if "bad@" in to:
            self.setreply("550", "5.7.1", "pymilter says no")
            return Milter.REJECT
        return Milter.CONTINUE
    def eom(self):
        self.addheader("X-Pymilter", "seen " + (self.getsymval("i") or "-"))
        self.chgheader("Subject", 1, "changed by pymilter")
        return Milter.ACCEPT
Milter.factory = Sample
Milter.set_flags(Milter.ADDHDRS | Milter.CHGHDRS)
Milter.runmilter("sample", sys.argv[1], 30)
'''


MIMEDEFANG = """
sub filter_begin { my($entity) = @_; action_bounce("MIMEDefang says no") if $Subject =~ /bounce me/; }
sub filter { return action_accept(); }
sub filter_end {
  my($entity) = @_;
  action_add_header("X-Defanged", "yes");
  action_change_header("Subject", "defanged $Subject");
  append_text_boilerplate($entity, "-- seen", 0) if $Subject =~ /boiler/;
}
1;
"""
DATE = rb"(Mon|Tue|Wed|Thu|Fri|Sat|Sun),? [A-Za-z0-9 ]+ \d\d:\d\d:\d\d( \d{4}| [-+]\d{4})?( \([A-Z]+\))?"


def normal(text, ids):
    """Without what differs from one delivery to the next: queue ids, times, signatures."""
    for id in ids:
        text = text.replace(id.encode(), b"QUEUE-ID")
    text = re.sub(DATE, b"DATE", text)
    text = re.sub(rb"header\.b=\S+", b"header.b=BYTES", text)
    if text.lower().startswith(b"dkim-signature:"):
        text = re.sub(rb"\s+", b"", text)
        text = re.sub(rb";b=[^;]*", b";b=BYTES", re.sub(rb";([tx])=\d+", rb";\1=TIME", text))
    return text


class Real(case.Case):
    """One milter, started by start() which gives its service for smtpd_milters."""
    NEEDS = ()
    postfix = None
    MAIN = "smtpd_milters = %(service)s\nmilter_content_timeout = 60s\nmail_name = Mill\nsmtpd_peername_lookup = no\n"

    @classmethod
    def setUpClass(cls):
        missing = [program for program in cls.NEEDS if not shutil.which(program)]
        if missing or cls is Real:
            raise unittest.SkipTest("not installed: " + ", ".join(missing))
        super().setUpClass()
        if postfix.available():
            cls.postfix = postfix.Postfix(cls.work, cls.RELAY % {"next": cls.next.port} + cls.MAIN)
            cls.addClassCleanup(cls.postfix.stop)
            cls.postfix.start()

    @classmethod
    def prepare(cls):
        cls.MAIN = Real.MAIN % {"service": cls.start()}

    @classmethod
    def run_peer(cls, *command, wait=None, **more):
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, start_new_session=True, **more)
        cls.addClassCleanup(ends, process)
        if isinstance(wait, int):
            wait_until(lambda: listening(wait), 60, command[0])
        elif wait:
            wait_until(lambda: os.path.exists(wait), 60, command[0])
            os.chmod(wait, 0o777)
        return process

    @classmethod
    def write(cls, name, text, mode=0o644):
        path = os.path.join(cls.work, name)
        with open(path, "w", encoding="ascii") as out:
            out.write(text)
        os.chmod(path, mode)
        return path

    def result(self, server, content, **more):
        """(reply, envelope, header lines, body) of a message, normalised; and the message as delivered."""
        self.next.clear()
        said = self.submit(content, server, **more)
        ids = re.findall(r"queued as (\w+)", said)
        got = self.next.wait(1)[0] if ids else None
        seen = [normal(said.encode(), ids)]
        if got:
            headers = [normal(line, ids) for line in got.headers()]
            seen += [got.sender.split(" ")[0], sorted(r.split(" ")[0] for r in got.recipients), headers, normal(got.body() or b"", ids)]
        return seen, got

    def both(self, content=MAIL, **more):
        """What Millrace makes of it; Postfix with the same milter makes the same."""
        mine, got = self.result(self.instance, content, **more)
        if self.postfix:
            theirs, _ = self.result(self.postfix, content, **more)
            self.maxDiff = None
            self.assertEqual(mine, theirs)
        return mine[0].decode(), got

    def headers_of(self, content=MAIL, **more):
        said, got = self.both(content, **more)
        self.assertIn("queued as", said, self.instance.log_text()[-3000:])
        return got


class Pymilter(Real):
    @classmethod
    def start(cls):
        if Milter is None:
            raise unittest.SkipTest("not installed: python3-milter")
        path = os.path.join(cls.work, "py.sock")
        cls.run_peer("/usr/bin/python3", cls.write("sample.py", PYMILTER), path, wait=path)
        return "unix:" + path

    def test_edits_and_refusals(self):
        got = self.headers_of(recipients=("<b@dest.example>",))
        self.assertRegex(got.header_bytes(), rb"X-Pymilter: seen [0-9A-Za-z]+\r\n")
        self.assertIn(b"Subject: changed by pymilter\r\n", got.header_bytes())
        self.assertIn("550 5.7.1 pymilter says no", self.both(MAIL, recipients=("<bad@dest.example>",))[0])


class Signer(Real):
    NEEDS = ("opendkim",)

    @classmethod
    def start(cls):
        signer = OpenDkim(cls.work, "s", name="alone")
        cls.addClassCleanup(signer.end)
        return signer.milter

    def test_signs(self):
        self.assertIn(b"DKIM-Signature:", self.headers_of().header_bytes())
        self.headers_of(MAIL.replace(b"this is it", b"x" * 200000), recipients=("<b@dest.example>", "<c@dest.example>"))


class OpenDmarc(Real):
    NEEDS = ("opendkim", "opendmarc")

    @classmethod
    def start(cls):
        verifier = OpenDkim(cls.work, "v")
        cls.addClassCleanup(verifier.end)
        port = free_port()
        conf = cls.write("opendmarc.conf", "Socket inet:%d@127.0.0.1\nAuthservID mx.mill.example\nTrustedAuthservIDs mx.mill.example\n"
                         "Syslog false\nBackground false\nPidFile %s/dmarc.pid\nSPFSelfValidate false\nDNSTimeout 1\n"
                         "IgnoreHosts %s\n" % (port, cls.work, cls.write("ignored", "192.0.2.200\n")))
        cls.run_peer("opendmarc", "-f", "-c", conf, wait=port)
        return verifier.milter + ", inet:127.0.0.1:%d" % port

    def test_reads_what_opendkim_wrote(self):
        got = self.headers_of()
        results = [h for h in got.headers() if h.startswith(b"Authentication-Results: mx.mill.example")]
        self.assertTrue(any(b"dmarc=" in h for h in results), got.header_bytes())


class Dkimpy(Real):
    NEEDS = ("dkimpy-milter", "openssl")

    @classmethod
    def start(cls):
        key, port = os.path.join(cls.work, "dkimpy.key"), free_port()
        subprocess.run(["openssl", "genrsa", "-traditional", "-out", key, "2048"], check=True, capture_output=True)
        os.chmod(key, 0o644)
        conf = cls.write("dkimpy.conf", "Mode s\nDomain sender.example\nSelector sel\nKeyFile %s\nSocket inet:%d@127.0.0.1\nSyslog no\n"
                         "PidFile %s/dkimpy.pid\nUserID %s\nInternalHosts 127.0.0.1\nCanonicalization relaxed/simple\n"
                         % (key, port, cls.work, pwd.getpwuid(os.geteuid()).pw_name))
        cls.run_peer("dkimpy-milter", conf, wait=port)
        return "inet:127.0.0.1:%d" % port

    def test_signs(self):
        self.assertIn(b"DKIM-Signature: v=1; a=rsa-sha256;", self.headers_of().header_bytes())


class Clamav(Real):
    NEEDS = ("clamd", "clamav-milter")

    @classmethod
    def start(cls):
        user = pwd.getpwuid(os.geteuid()).pw_name
        database = os.path.join(cls.work, "db")
        os.makedirs(database)
        cls.write("db/test.ndb", "Eicar-Tiny:0:*:%s\n" % EICAR.hex())
        clamd, milter = os.path.join(cls.work, "clamd.sock"), os.path.join(cls.work, "clmilter.sock")
        cls.run_peer("clamd", "-c", cls.write("clamd.conf", "DatabaseDirectory %s\nLocalSocket %s\nForeground yes\nUser %s\n"
                                                            % (database, clamd, user)), wait=clamd)
        cls.run_peer("clamav-milter", "-c", cls.write("clmilter.conf", "ClamdSocket unix:%s\nMilterSocket %s\nForeground yes\nUser %s\n"
                                                                       "OnInfected Reject\nAddHeader Replace\n" % (clamd, milter, user)), wait=milter)
        return "unix:" + milter

    def test_eicar(self):
        self.assertIn(b"X-Virus-Status: Clean", self.headers_of().header_bytes())
        said, _ = self.both(MAIL + EICAR + b"\r\n")
        self.assertRegex(said, "^55", said)


class SpamAssassin(Real):
    NEEDS = ("spamd", "spamass-milter")

    @classmethod
    def start(cls):
        port, path = free_port(), os.path.join(cls.work, "spamass.sock")
        site = os.path.join(cls.work, "site")
        os.makedirs(site)
        cls.write("site/init.pre", "loadplugin Mail::SpamAssassin::Plugin::Check\n")
        # The one rule that matters, so that no rules have to be downloaded.
        cls.write("site/local.cf", "required_score 5\nbody GTUBE /XJS\\*C4JDBQADN1\\.NSBN3\\*2IDNEN\\*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL\\*C\\.34X/\n"
                                   "score GTUBE 1000\nadd_header all Status \"_YESNO_, score=_SCORE_ required=_REQD_ tests=_TESTS_\"\n"
                                   "add_header spam Flag _YESNOCAPS_\n")
        cls.run_peer("spamd", "-L", "-x", "--siteconfigpath=" + site, "-C", site, "-p", str(port), "-i", "127.0.0.1", "-m", "1", "-u", "nobody", wait=port)
        cls.run_peer("spamass-milter", "-p", path, "-r", "15", "--", "-p", str(port), wait=path)
        return "unix:" + path

    def test_gtube(self):
        self.assertIn(b"X-Spam-", self.headers_of().header_bytes())
        said, _ = self.both(MAIL + GTUBE + b"\r\n")
        self.assertRegex(said, "^550 5.7.1", [m.content for m in self.next.messages])


class Rspamd(Real):
    NEEDS = ("rspamd",)

    @classmethod
    def start(cls):
        port = free_port()
        conf = cls.write("rspamd.conf", '''
options { pidfile = "%(work)s/rspamd.pid"; tempdir = "%(work)s"; dns { nameserver = ["127.0.0.1:1"]; timeout = 0.1s; retransmits = 1; } filters = ""; gtube_patterns = "all"; }
logging { type = "console"; level = "error"; }
actions { reject = 15; add_header = 6; }
worker "rspamd_proxy" { bind_socket = "127.0.0.1:%(port)d"; milter = yes; timeout = 30s; count = 1; upstream "local" { default = yes; self_scan = yes; } }
''' % {"work": cls.work, "port": port})
        cls.run_peer("rspamd", "-f", "-i", "-c", conf, wait=port)
        return "inet:127.0.0.1:%d" % port

    def test_gtube(self):
        self.headers_of()
        self.assertRegex(self.both(MAIL + GTUBE + b"\r\n")[0], "^55")


class MimeDefang(Real):
    NEEDS = ("mimedefang", "mimedefang-multiplexor")

    @classmethod
    def start(cls):
        if os.geteuid() != 0:
            raise unittest.SkipTest("mimedefang wants to change its user")
        spool = os.path.join(cls.work, "md")
        os.makedirs(spool)
        os.chmod(spool, 0o750)
        shutil.chown(spool, "defang", "defang")
        inside, outside = os.path.join(spool, "multiplexor.sock"), os.path.join(spool, "milter.sock")
        rules = cls.write("md-filter", MIMEDEFANG)
        worker = cls.write("md-worker", "#!/bin/sh\nexec mimedefang.pl -f %s \"$@\"\n" % rules, 0o755)
        cls.run_peer("mimedefang-multiplexor", "-D", "-U", "defang", "-m", "1", "-x", "2", "-z", spool, "-s", inside, "-f", worker, wait=inside)
        cls.run_peer("mimedefang", "-D", "-X", "-U", "defang", "-z", spool, "-m", inside, "-p", outside, wait=outside)
        os.chmod(spool, 0o755)
        return "unix:" + outside

    def test_edits_body_and_refusal(self):
        got = self.headers_of()
        self.assertIn(b"X-Defanged: yes\r\n", got.header_bytes())
        self.assertIn(b"Subject: defanged hello\r\n", got.header_bytes())
        self.assertIn(b"-- seen", self.headers_of(MAIL.replace(b"hello", b"boiler")).body())
        said, _ = self.both(MAIL.replace(b"Subject: hello", b"Subject: bounce me"))
        self.assertIn("MIMEDefang says no", said)


class Chained(Real):
    """All the light ones in a row, the signer last."""
    NEEDS = ("opendkim", "opendmarc")

    @classmethod
    def start(cls):
        services = [OpenDmarc.start.__func__(cls)]
        if Milter is not None:
            services.append(Pymilter.start.__func__(cls))
        signer = OpenDkim(cls.work, "s", name="signer")
        cls.addClassCleanup(signer.end)
        return ", ".join(services + [signer.milter])

    def test_each_has_its_turn(self):
        got = self.headers_of().header_bytes()
        self.assertIn(b"dmarc=", got)
        self.assertIn(b"DKIM-Signature:", got)
        if Milter is not None:
            self.assertIn(b"X-Pymilter: ", got)


class All(Real):
    """Every one of them, one after the other."""
    NEEDS = tuple(program for one in (Clamav, SpamAssassin, Rspamd, MimeDefang, OpenDmarc) for program in one.NEEDS)

    @classmethod
    def start(cls):
        kinds = [Clamav, SpamAssassin, Rspamd, MimeDefang, OpenDmarc, Signer] + ([Pymilter] if Milter is not None else [])
        return ", ".join(kind.start.__func__(cls) for kind in kinds)

    def test_each_has_its_turn(self):
        got = self.headers_of().header_bytes()
        for mark in (b"X-Virus-Status: Clean", b"X-Spam-", b"X-Defanged: yes", b"dmarc=", b"DKIM-Signature:"):
            self.assertIn(mark, got)
        self.assertRegex(self.both(MAIL + EICAR + b"\r\n")[0], "^55")


if __name__ == "__main__":
    case.main()
