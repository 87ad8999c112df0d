#!/usr/bin/python3
"""Tables as an admin asks them: `millrace map` and `alias` with every option of postmap(1) and postalias(1), and every type of
table with its three answers.  Where Debian's postmap is installed, both are asked the same and must say the same."""
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIN = """compatibility_level = 3.6
default_database_type = lmdb
myhostname = mx.mill.example
mydestination = here.example
proxy_read_maps = proxy:inline:{a=b} proxy:texthash:%(work)s/source
import_environment = MAIL_CONFIG table_test
"""
SOURCE = 'Key Value one\nother\ttwo  words \nfolded first\n  second\n"two words" quoted\n# comment\nKEY again\nbroken\nalias: x\nbyte\xff v\n'
MESSAGE = "Subject: folded\n\there\nX: y\nContent-Type: multipart/mixed; boundary=b\n\npreamble\n--b\nContent-Type: text/plain\nQ: a\n\n" \
          "body line\n--b\nContent-Type: message/rfc822\n\nSubject: inner\n\ninner body\n\n--b--\n"


def netstring(text):
    return b"%d:%s," % (len(text), text)


class Servers:
    """A socketmap and a tcp table: `good` is there, `bad` is an error, `odd` gets an answer that is none, the rest is not there."""

    def __init__(self, work):
        self.sockets = []
        self.path = os.path.join(work, "map.sock")
        self.unix = socket.socket(socket.AF_UNIX)
        self.unix.bind(self.path)
        os.chmod(self.path, 0o777)
        self.inet, self.tcp = socket.socket(), socket.socket()
        for sock in (self.inet, self.tcp):
            sock.bind(("127.0.0.1", 0))
        for sock, serve in ((self.unix, self.socketmap), (self.inet, self.socketmap), (self.tcp, self.lines)):
            sock.listen(50)
            threading.Thread(target=self.accept, args=(sock, serve), daemon=True).start()

    @staticmethod
    def accept(sock, serve):
        while True:
            try:
                peer, _ = sock.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(peer,), daemon=True).start()

    @staticmethod
    def socketmap(peer):
        stream = peer.makefile("rwb")
        while True:
            length = b""
            while not length.endswith(b":"):
                byte = stream.read(1)
                if not byte:
                    return
                length += byte
            text = stream.read(int(length[:-1]))
            stream.read(1)
            name, _, key = text.partition(b" ")
            answers = {b"good": b"OK value of " + name, b"bad": b"TEMP broken", b"worse": b"PERM never", b"late": b"TIMEOUT later", b"odd": b"WHAT"}
            stream.write(netstring(answers.get(key, b"NOTFOUND ")))
            stream.flush()

    @staticmethod
    def lines(peer):
        stream = peer.makefile("rwb")
        for line in stream:
            key = line.split(b" ")[1].strip()
            answers = {b"good": b"200 a%20value", b"bad": b"400 broken", b"odd": b"what"}
            stream.write(answers.get(key, b"500 not%20there") + b"\n")
            stream.flush()


class Tables(unittest.TestCase):
    def setUp(self):
        self.work = tempfile.mkdtemp(prefix="millrace-tables-")
        os.chmod(self.work, 0o755)
        self.addCleanup(shutil.rmtree, self.work, True)
        self.write("main.cf", MAIN % {"work": self.work})
        self.write("master.cf", "smtp inet n - n - - smtpd\n")
        self.oracle = shutil.which("postmap", path="/usr/sbin:/usr/bin")

    def write(self, name, text, mode=0o644, owner=None):
        path = os.path.join(self.work, name)
        with open(path, "w", encoding="latin-1") as out:
            out.write(text)
        os.chmod(path, mode)
        if owner:
            os.chown(path, owner.pw_uid, owner.pw_gid)
        return path

    def ask(self, *args, data="", tool="map"):
        """(exit status, standard output, standard error) of ours."""
        done = subprocess.run([case.BINARY, "-c", self.work, tool, *args], input=data.encode("latin-1"), capture_output=True, timeout=60,
                              check=False, env=dict(os.environ, table_test="from the environment"))
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")

    def postfix(self, *args, data="", tool="postmap"):
        done = subprocess.run([os.path.join(os.path.dirname(self.oracle), tool), "-c", self.work, *args], input=data.encode("latin-1"),
                              capture_output=True, timeout=60, check=False, env=dict(os.environ, table_test="from the environment"))
        return done.returncode, done.stdout.decode("latin-1"), done.stderr.decode("latin-1")

    def same(self, *args, data="", tool="map", errors=True, **expected):
        """Ours, after it was compared with Postfix's."""
        ours = self.ask(*args, data=data, tool=tool)
        if self.oracle:
            theirs = self.postfix(*args, data=data, tool="post" + tool)
            with self.subTest(" ".join(args)):
                self.assertEqual(ours[:2], theirs[:2], (ours, theirs))
                if errors:
                    self.assertEqual(ours[2], theirs[2])
        for part, name in enumerate(("status", "out", "err")):
            if name in expected:
                self.assertEqual(ours[part], expected[name], ours)
        return ours

    def both(self, source, *options, data="", tool="map", list_with=()):
        """The table that each of the two makes of a copy of `source`, as text."""
        path = self.write("mine", source)
        made = [self.ask(*options, "lmdb:" + path, data=data, tool=tool)]
        listed = [self.ask("-s", *list_with, "lmdb:" + path, tool=tool)]
        if self.oracle:
            os.unlink(path + ".lmdb")
            made.append(self.postfix(*options, "lmdb:" + path, data=data, tool="post" + tool))
            listed.append(self.postfix("-s", *list_with, "lmdb:" + path, tool="post" + tool))
            self.assertEqual((made[0][0], bool(made[0][2])), (made[1][0], bool(made[1][2])), made)
            lines = [sorted(line for line in one[1].splitlines() if not line.startswith("YP_LAST")) for one in listed]
            self.assertEqual([lines[0], listed[0][0]], [lines[1], listed[1][0]])
        return made[0], sorted(listed[0][1].splitlines())

    # -- building

    def test_a_table_from_a_source(self):
        made, listed = self.both(SOURCE)
        self.assertEqual(made[0], 0)
        for text in ("duplicate entry: \"key\"", "line 8: expected format: key whitespace value", "is this an alias file?", "non-UTF-8 input"):
            self.assertIn(text, made[2])
        self.assertEqual(listed, ['"two words"\tquoted', "alias:\tx", "folded\tfirst  second", "key\tValue one", "other\ttwo  words"])

    def test_duplicates(self):
        self.assertIn("key\tagain", self.both("Key one\nkey again\n", "-r")[1])
        made, listed = self.both("Key one\nkey again\n", "-w")
        self.assertEqual((made[2], listed), ("", ["key\tone"]))

    def test_case_and_bytes(self):
        _, listed = self.both("Key one\nkey two\n", "-f")
        self.assertEqual(listed, ["Key\tone", "key\ttwo"])
        path = os.path.join(self.work, "mine")
        self.ask("-f", "lmdb:" + path)
        self.same("-f", "-q", "Key", "lmdb:" + path, status=0, out="one\n")
        self.same("-f", "-q", "KEY", "lmdb:" + path, status=1, out="")
        self.same("-q", "KEY", "lmdb:" + path, status=0, out="two\n")
        self.assertIn("byte\xff\tv", self.both("byte\xff v\n", "-u", list_with=("-u",))[1])
        self.write("main.cf", MAIN % {"work": self.work} + "smtputf8_enable = no\n")
        self.assertIn("byte\xff\tv", self.both("byte\xff v\n")[1])

    def test_with_and_without_a_null_byte(self):
        for option, key in (("-N", b"k1\0"), ("-n", b"k1"), (None, b"k1\0")):
            path = self.write("nul", "k1 v1\n")
            self.assertEqual(self.ask(*([option] if option else []), "lmdb:" + path)[0], 0)
            with open(path + ".lmdb", "rb") as file:
                bytes_ = file.read()
            self.assertEqual(b"k1\0v1\0" in bytes_, key.endswith(b"\0"), option)
            self.assertEqual(b"k1v1" in bytes_, not key.endswith(b"\0"), option)
            self.same("-q", "k1", "lmdb:" + path, status=0, out="v1\n")

    def test_files_as_values(self):
        one, two = self.write("one", "content 1\n"), self.write("two", "content 2")
        source = "a %s, %s\nb %s\nc %s/missing\n" % (one, two, two, self.work)
        made, listed = self.both(source, "-F", list_with=("-F",))
        self.assertIn("missing: No such file or directory: skipping this entry", made[2])
        self.assertEqual(listed, ["", "a\tcontent 1", "b\tcontent 2", "content 2"])
        path = "lmdb:" + os.path.join(self.work, "mine")
        self.same("-F", "-q", "a", path, status=0, out="content 1\n\ncontent 2\n")
        self.same("-q", "b", path, status=0, out="Y29udGVudCAy\n")
        self.same("-F", "-q", "-", path, data="b\nx\n", status=0, out="b\tcontent 2\n")
        plain = self.write("plain", "a not*base64\n")
        self.ask("lmdb:" + plain)
        status, _, errors = self.ask("-F", "-q", "a", "lmdb:" + plain)
        self.assertNotEqual(status, 0)
        self.assertIn("malformed BASE64 value", errors)

    def test_more_entries_from_standard_input(self):
        path = self.write("grow", "a 1\nb 2\n")
        self.assertEqual(self.ask("lmdb:" + path)[0], 0)
        status, _, errors = self.ask("-i", "lmdb:" + path, data="c 3\nA 9\n")
        self.assertEqual(status, 0)
        self.assertIn('duplicate entry: "a"', errors)
        self.same("-q", "-", "lmdb:" + path, data="a\nb\nc\nd\n", status=0, out="a\t1\nb\t2\nc\t3\n")
        self.ask("-i", "-r", "lmdb:" + path, data="a 9\n")
        self.same("-q", "a", "lmdb:" + path, status=0, out="9\n")
        self.assertEqual(self.ask("-i", "lmdb:" + os.path.join(self.work, "new"), data="k v\n")[0], 0)
        self.same("-q", "k", "lmdb:" + os.path.join(self.work, "new"), status=0, out="v\n")

    def test_entries_removed(self):
        path = self.write("less", "a 1\nb 2\nc 3\n")
        self.ask("lmdb:" + path)
        self.assertEqual(self.ask("-d", "A", "lmdb:" + path), (0, "", ""))
        self.assertEqual(self.ask("-d", "a", "lmdb:" + path), (1, "", ""))
        self.assertEqual(self.ask("-d", "-", "lmdb:" + path, data="x\nb\n"), (0, "", ""))
        self.same("-s", "lmdb:" + path, status=0, out="c\t3\n")
        self.same("-d", "c", "static:x", errors=False)

    @unittest.skipUnless(os.geteuid() == 0, "needs root")
    def test_rights(self):
        nobody = pwd.getpwnam("nobody")
        path = self.write("closed", "a 1\n", 0o640)
        self.assertEqual(self.ask("lmdb:" + path)[0], 0)
        self.assertEqual(stat.S_IMODE(os.stat(path + ".lmdb").st_mode), 0o640)
        self.ask("-p", "lmdb:" + path)
        self.assertEqual(stat.S_IMODE(os.stat(path + ".lmdb").st_mode), 0o644)
        # The table of a user's source is made with that user's rights: not in a directory that is closed to it.
        theirs = self.write("theirs", "a 1\n", owner=nobody)
        status, _, errors = self.ask("lmdb:" + theirs)
        self.assertEqual(status, 1, errors)
        self.assertFalse(os.path.exists(theirs + ".lmdb"))
        self.assertEqual(self.ask("-o", "lmdb:" + theirs)[0], 0)
        self.assertEqual(os.stat(theirs + ".lmdb").st_uid, 0)
        home = os.path.join(self.work, "home")
        os.mkdir(home)
        os.chown(home, nobody.pw_uid, nobody.pw_gid)
        theirs = self.write("home/theirs", "a 1\n", owner=nobody)
        self.assertEqual(self.ask("lmdb:" + theirs)[0], 0)
        self.assertEqual(os.stat(theirs + ".lmdb").st_uid, nobody.pw_uid)
        mine = self.write("home/mine", "a 1\n")
        self.assertIn("Creating root-owned database file(s)", self.ask("lmdb:" + mine)[2])

    # -- looking up

    def test_keys_of_a_message(self):
        for options in (("-h",), ("-b",), ("-h", "-m"), ("-b", "-m"), ("-h", "-b"), ("-h", "-b", "-m")):
            for message in (MESSAGE, "From me\n" + MESSAGE, "X: y\n", "\nbody\n", ""):
                self.same(*options, "-q", "-", "static:v", data=message)
        self.same("-h", "-q", "-", "regexp:{{/^subject: (.*)/ $1}}", data=MESSAGE, status=0, out="Subject: folded\n\there\tfolded\n\there\n")
        self.same("-h", "-m", "-q", "-", "pcre:{{/^subject: in/ yes}}", data=MESSAGE, status=0, out="Subject: inner\tyes\n")
        self.same("-b", "-q", "-", "pcre:{{/nothing/ yes}}", data=MESSAGE, status=1, out="")
        for options in (("-h",), ("-h", "-U"), ("-b", "-u")):
            self.same(*options, "-q", "-", "static:v", data="S: \xff\n\nx\xff\n")
        self.same("-m", "-q", "-", "static:v", data="a\n")
        self.same("-h", "-q", "x", "static:v", status=1)
        self.same("-b", "static:v", status=1)

    def test_keys_from_standard_input(self):
        table = "inline:{ a=1, {b = two words} }"
        self.same("-q", "-", table, data="a\nB\nc\n", status=0, out="a\t1\nB\ttwo words\n")
        self.same("-q", "-", table, data="c\n", status=1, out="")
        self.same("-q", "-", table, "static:rest", data="a\nc\n", status=0, out="a\t1\nc\trest\n")
        self.same("-q", "-", "static:x", data="a\xff\nb\n")
        self.same("-q", "a\xff", "static:x")
        self.same("-u", "-q", "a\xff", "static:x")
        self.same("-q", "a", "-s", table, errors=False)
        self.same("-q", "a", "-d", "a", table, errors=False)

    def test_listing(self):
        for table in ("static:x", "cidr:{{10.0.0.0/8 x}}", "inline:{a=b}", "regexp:{{/x/ y}}", "fail:x", "unionmap:{inline:{a=b}}"):
            ours, theirs = self.ask("-s", table), self.oracle and self.postfix("-s", table)
            if theirs:
                self.assertEqual(ours[:2], theirs[:2], (table, ours, theirs))
        path = self.write("texts", "B 2\na 1\n")
        self.assertEqual(sorted(self.ask("-s", "texthash:" + path)[1].splitlines()), ["a\t1", "b\t2"])

    def test_aliases(self):
        source = 'Root: you, "me <a@b>"\nlist: :include:/x,\n  |"/bin/cmd arg"\nbad line\nu@d: x\n"quoted name": y\nroot: z\n' \
            'c1: | "/bin/x y"\nc2: | /bin/x\nc3: x"y"z\nc4: a(c)b\nc5: <a@b> c <d@e>\nc6: |"a" "b", me<x@y>\n'
        made, listed = self.both(source, tool="alias")
        self.assertEqual(made[0], 0)
        listed = [line for line in listed if not line.startswith(("@", "YP_"))]
        self.assertEqual(len(listed), 9, listed)
        path = os.path.join(self.work, "mine")
        self.same("-q", "LIST", "lmdb:" + path, tool="alias", status=0)
        self.same("-q", "nobody", "lmdb:" + path, tool="alias", status=1, out="")
        self.same("-q", "-", "lmdb:" + path, tool="alias", data="root\nquoted name\n", status=0)
        self.assertEqual(self.ask("-d", "list", "lmdb:" + path, tool="alias")[0], 0)
        self.assertEqual(self.ask("-i", "lmdb:" + path, tool="alias", data="more: x\n")[0], 0)
        self.same("-q", "more", "lmdb:" + path, tool="alias", status=0, out="x\n")
        self.same("-b", "lmdb:" + path, tool="alias", status=1, errors=False)
        # Debian's own table of aliases can be read, and ours by Debian's tools.
        if self.oracle:
            self.assertEqual(self.postfix("-q", "more", "lmdb:" + path, tool="postalias")[1], "x\n")
            self.postfix("lmdb:" + path, tool="postalias")
            self.assertEqual(self.ask("-q", "root", "lmdb:" + path, tool="alias")[0], 0)

    # -- the three answers of every type

    def three(self, table, found, missing, broken=()):
        """`found`: key to value; the others are keys.  An error is told and is no "not there"."""
        for key, value in found.items():
            self.same("-q", key, table, status=0, out=value + "\n")
        for key in missing:
            self.same("-q", key, table, status=1, out="", err="")
        for key in broken:
            status, out, errors = self.same("-q", key, table, errors=False)
            self.assertEqual((status, out), (1, ""), (table, key))
            self.assertRegex(errors, "(?s)fatal: table .*", (table, key))

    def test_made_of_tables(self):
        path = self.write("source", "a one\nb a\n")
        parts = "inline:{a=1 b=2}, inline:{a=3}"
        self.three("unionmap:{%s}" % parts, {"a": "1,3", "b": "2"}, ["c"])
        self.three("unionmap:{inline:{a=1}, fail:x}", {}, [], ["a", "c"])
        self.three("pipemap:{texthash:%s, inline:{a=1}}" % path, {"b": "1"}, ["a", "x"])
        self.three("pipemap:{inline:{a=1}, fail:x}", {}, ["b"], ["a"])
        self.three("proxy:inline:{a=b}", {"a": "b"}, ["x"]) if not self.oracle else self.assertEqual(
            self.ask("-q", "a", "proxy:inline:{a=b}"), (0, "b\n", ""))
        for table in ("unionmap:{}", "unionmap:x", "pipemap:{nosuch:y}", "pipemap:{static}"):
            self.same("-q", "a", table, status=1, out="", errors=False)

    def test_proxy_answers_for_what_is_listed(self):
        path = self.write("source", "a one\n")
        self.assertEqual(self.ask("-q", "a", "proxy:texthash:" + path), (0, "one\n", ""))
        self.assertEqual(self.ask("-q", "b", "proxy:texthash:" + path), (1, "", ""))
        status, _, errors = self.ask("-q", "a", "proxy:texthash:/etc/passwd")
        self.assertEqual(status, 1)
        self.assertIn("proxymap service is not configured for table", errors)

    def test_random(self):
        self.three("randmap:{one}", {"x": "one", "y": "one"}, [])
        seen = {self.ask("-q", "x", "randmap:{a, b, {c d}}")[1] for _ in range(40)}
        self.assertEqual(seen, {"a\n", "b\n", "{c d}\n"})   # the braces stay, as in Postfix
        self.same("-q", "a", "randmap:{}", status=1, out="", errors=False)

    def test_fixed(self):
        self.three("static:always", {"x": "always"}, [])
        self.three("static:{two words}", {"x": "two words"}, [])
        self.three("fail:reason", {}, [], ["x"])
        self.three("environ:x", {"table_test": "from the environment"}, ["no_such_name"])
        self.three("internal:x", {}, ["x"])
        self.three("inline:{ Key=v, {k2 = v 2} }", {"key": "v", "KEY": "v", "k2": "v 2"}, ["v"])
        self.three("cidr:{ {10.0.0.0/8 ten} {::1 six} }", {"10.1.2.3": "ten", "::1": "six"}, ["11.0.0.1", "name"])
        self.three("pcre:{ {/^a(.)/ x$1} }", {"ab": "xb", "AC": "xC"}, ["b"])
        self.three("regexp:{ {/^a(.)/ x$1} }", {"ab": "xb"}, ["b"])
        self.three("unix:passwd.byname", {"root": "root:x:0:0:root:/root:" + pwd.getpwuid(0).pw_shell}, ["no-such-user"])
        self.same("-q", "root", "unix:group.byname", status=0)
        self.same("-q", "x", "unix:shadow.byname", status=1, out="", errors=False)

    def test_servers(self):
        servers = Servers(self.work)
        for table in ("socketmap:unix:%s:names" % servers.path, "socketmap:inet:127.0.0.1:%d:names" % servers.inet.getsockname()[1]):
            self.three(table, {"good": "value of names"}, ["none", "other"], ["bad", "worse", "late"])
            self.assertEqual(self.ask("-q", "odd", table)[0], 1)
        self.three("tcp:127.0.0.1:%d" % servers.tcp.getsockname()[1], {"good": "a value"}, ["none"], ["bad"])
        # Nobody there is an error, too.
        for table in ("socketmap:unix:%s/nobody:x" % self.work, "socketmap:inet:127.0.0.1:1:x", "tcp:127.0.0.1:1"):
            status, out, errors = self.ask("-q", "good", table)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("fatal: table", errors)
        for table in ("socketmap:names", "socketmap:inet:1", "socketmap:unix:/x", "tcp:nothing"):
            status, out, errors = self.ask("-q", "good", table)
            self.assertEqual((status, out), (1, ""))
            self.assertIn("fatal: ", errors)

    def test_plugins_to_be(self):
        base = MAIN % {"work": self.work}
        for parameter in ("virtual_alias_maps", "transport_maps", "alias_maps", "smtpd_sender_restrictions"):
            kinds = ("mysql", "pgsql", "ldap", "sqlite", "memcache", "mongodb", "nis", "cdb", "dbm", "sdbm")
            for kind in kinds if parameter == "transport_maps" else kinds[:1]:
                value = "%s:/etc/x.cf" % kind
                word = "check_sender_access " + value if "restrictions" in parameter else value
                self.write("main.cf", base + "%s = %s\n" % (parameter, word))
                done = subprocess.run([case.BINARY, "-c", self.work, "check"], capture_output=True, text=True, timeout=60, check=False)
                self.assertNotEqual(done.returncode, 0)
                line = len(base.splitlines()) + 1
                self.assertRegex(done.stderr, r"(?m)main\.cf(, line |:)%d: .*%s.*%s.*plugin" % (line, parameter, kind), done.stderr)

    def test_hostile_sources(self):
        for name, text in (("zero", "\0\0\n"), ("noise", os.urandom(4000).decode("latin-1")), ("long", "k" * 600 + " v\n"), ("quote", '"open v\n'),
                           ("empty", "")):
            path = self.write(name, text)
            status = self.ask("lmdb:" + path)[0]
            self.assertIn(status, (0, 1), name)
            self.assertIn(self.ask("-q", "x", "lmdb:" + path)[0], (0, 1), name)
        for table in ("lmdb:" + self.work, "lmdb:", "nosuch:x", "lmdb:/dev/zero", "x" * 5000, "cidr:/nonexistent"):
            status, out, errors = self.ask("-q", "x", table)
            self.assertEqual((status, out), (1, ""), table)
            self.assertIn("fatal", errors)
        cut = self.write("cut", "a 1\n")
        self.ask("lmdb:" + cut)
        with open(cut + ".lmdb", "r+b") as file:
            file.truncate(100)
        status, _, errors = self.ask("-q", "a", "lmdb:" + cut)
        self.assertEqual(status, 1)
        self.assertIn("fatal", errors)

    def test_newaliases(self):
        path = self.write("names", "root: me@x\n")
        self.write("main.cf", MAIN % {"work": self.work} + "alias_database = lmdb:%s\n" % path)
        done = subprocess.run([case.BINARY, "-c", self.work, "sendmail", "-bi"], capture_output=True, text=True, timeout=60, check=False,
                              env=dict(os.environ, MAIL_CONFIG=self.work))
        self.assertEqual(done.returncode, 0, done.stderr)
        wait_until(lambda: os.path.exists(path + ".lmdb"), 5, "the table")
        self.same("-q", "root", "lmdb:" + path, tool="alias", status=0, out="me@x\n")


if __name__ == "__main__":
    case.main()
