#!/usr/bin/python3
"""Local ends: aliases, .forward, mailbox files and maildirs, with the recipient's rights; virtual mailboxes."""
import os
import pwd
import socket
import stat
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nFrom here\r\nend\r\n"
ALIASES = """team: one@dest.example, two@dest.example
chain: team
owner-list: keeper@dest.example
list: three@dest.example
run: "|/usr/bin/id -un > WORK/out/run; cat >> WORK/out/run"
refuse: "|exit 67"
file: WORK/out/file
secret: :include:WORK/secret
commands: :include:WORK/commands
mark: "|/usr/bin/touch WORK/out/marked"
store: WORK/out/stored
loop: loop2
loop2: loop
"""


@unittest.skipUnless(os.geteuid() == 0, "needs root: mail is delivered with other users' rights")
class Mailboxes(case.Case):
    MAIN = """mydestination = local.example mx.mill.example
local_recipient_maps =
alias_maps = hash:WORK/aliases
recipient_delimiter = +
forward_path = WORK/forward/$user${recipient_delimiter}${extension}, WORK/forward/$user
mail_spool_directory = WORK/spool
relay_domains = dest.example box.example dir.example propagate.example home.example piped.example
virtual_mailbox_domains = virtual.example
virtual_mailbox_base = WORK/virtual
virtual_mailbox_maps = inline:{ {box@virtual.example = boxes/box} {dir@virtual.example = dir/} {low@virtual.example = low/} {@star.example = star} {root@virtual.example = root} }
virtual_uid_maps = inline:{ {box@virtual.example = GAMES} {dir@virtual.example = GAMES} {low@virtual.example = 0} {root@virtual.example = GAMES} }
virtual_gid_maps = static:NOGROUP
virtual_minimum_uid = 1
transport_maps = inline:{ {dir.example = dirs} {box.example = command} {propagate.example = propagate} {home.example = home} {piped.example = piped} }
smtpd_recipient_restrictions = reject_unauth_destination, check_sender_access inline:{ {probing@sender.example = reject_unverified_recipient} }
unverified_recipient_reject_code = 550
address_verify_poll_delay = 5s
address_verify_map =
"""
    MASTER = """local unix - n n - - local
propagate unix - n n - - local -o propagate_unmatched_extensions=alias,forward,include
home unix - n n - - local -o require_home_directory=yes
piped unix - n n - - pipe user=games argv=/usr/bin/touch %(work)s/out/piped
dirs unix - n n - - local -o mail_spool_directory=%(work)s/spool/
command unix - n n - - local -o {mailbox_command=/bin/sh -c 'echo $USER,$EXTENSION,$SENDER > %(work)s/out/command; exit 0'}
virtual unix - n n - - virtual
"""

    @classmethod
    def prepare(cls):
        games, nobody = pwd.getpwnam("games"), pwd.getpwnam("nobody")
        cls.games = games
        for name in ("out", "spool", "forward", "virtual", "virtual/boxes"):
            os.mkdir(os.path.join(cls.work, name))
        for name in ("out", "spool", "virtual", "virtual/boxes"):
            os.chmod(os.path.join(cls.work, name), 0o1777)
        cls.write("aliases", ALIASES.replace("WORK", cls.work))
        cls.write("secret", "# for root's eyes\nfour@dest.example\n", mode=0o600)
        cls.write("commands", "|touch %s/out/never\n" % cls.work)
        cls.write("forward/games", "\\games, copy@dest.example\n", "games")
        cls.write("forward/daemon", '"|id -un > %s/out/daemon"\n' % cls.work, "daemon")
        cls.write("forward/bin", "stolen@dest.example\n", "daemon")
        cls.write("forward/news+tag", "tagged@dest.example\n", "news")
        cls.write("forward/mail", "plain@dest.example\n", "mail")
        os.symlink("/etc/passwd", os.path.join(cls.work, "forward", "man"))
        cls.MAIN = cls.MAIN.replace("WORK", cls.work).replace("GAMES", str(games.pw_uid)).replace("NOGROUP", str(nobody.pw_gid))

    @classmethod
    def write(cls, name, text, owner=None, mode=0o644):
        path = os.path.join(cls.work, name)
        with open(path, "w", encoding="utf-8") as out:
            out.write(text)
        os.chmod(path, mode)
        if owner:
            os.chown(path, pwd.getpwnam(owner).pw_uid, pwd.getpwnam(owner).pw_gid)

    def to(self, *names, sender="<a@sender.example>", content=MAIL):
        return self.queue_id(self.submit(content, sender=sender, recipients=["<%s>" % n for n in names]))

    def arrived(self, *words):
        """The message at the next hop that was meant: bounces of other tests may come between."""
        def look():
            for message in list(self.next.messages):
                if all(word in " ".join(message.recipients) for word in words):
                    return message
            return None
        return wait_until(look, 15, "a message for " + " ".join(words))

    def path(self, name):
        return os.path.join(self.work, name)

    def text(self, name):
        wait_until(lambda: os.path.exists(self.path(name)) and os.path.getsize(self.path(name)), 10, name)
        with open(self.path(name), encoding="utf-8") as file:
            return file.read()

    def test_delivered_to_of_an_alias_in_an_alias(self):
        """frozen_delivered_to: the address that the message came with, or the one that was expanded last."""
        for value, expected in (("yes", b"Delivered-To: chain@local.example"), ("no", b"Delivered-To: team@mx.mill.example")):
            instance = self.make("frozen-" + value, self.MAIN + "frozen_delivered_to = %s\n" % value, master=self.MASTER)
            instance.start()
            self.addCleanup(instance.stop)
            self.next.clear()
            self.submit(MAIL, instance=instance, recipients=("<chain@local.example>",))
            self.assertIn(expected, self.arrived("one@dest.example", "two@dest.example").headers())
            instance.stop()

    def test_alias_forwards_once(self):
        self.to("team@local.example")
        got = self.arrived("one@dest.example", "two@dest.example")
        self.assertEqual(sorted(r.split(">")[0] for r in got.recipients), ["TO:<one@dest.example", "TO:<two@dest.example"])
        self.assertTrue(got.headers()[0].startswith(b"Received: by mx.mill.example (Millrace)\r\n\tid "), got.headers())
        self.assertEqual(got.headers()[1], b"Delivered-To: team@local.example")
        self.wait_log(r"to=<team@local.example>, relay=local, .* dsn=2.0.0, status=sent \(forwarded as \w+\)")

    def test_owner_is_the_sender_of_a_list(self):
        self.to("list@local.example")
        self.assertIn("owner-list@", self.arrived("three@dest.example").sender)

    def test_alias_command_runs_as_default_privs(self):
        self.to("run@local.example")
        wait_until(lambda: self.text("out/run").count("\n") > 5, 10, "the whole message")
        lines = self.text("out/run").split("\n")
        self.assertEqual(lines[0], "nobody")
        self.assertRegex(lines[1], "^From a@sender.example  ")
        self.assertEqual(lines[2:5], ["Return-Path: <a@sender.example>", "X-Original-To: run@local.example", "Delivered-To: run@local.example"])

    def test_exit_status_and_loops(self):
        first = self.to("refuse@local.example")
        self.wait_log(first + r": to=<refuse@local.example>, relay=local, .* dsn=5.1.1, status=bounced \(user unknown\)")
        second = self.to("loop@local.example")
        self.wait_log(second + r": .*status=bounced \(possible alias database loop")
        third = self.to("uucp@local.example", content=b"Delivered-To: uucp@local.example\r\n" + MAIL)
        self.wait_log(third + r": .* dsn=5.4.6, status=bounced \(mail forwarding loop for uucp@local.example\)")
        fourth = self.to("nosuch@local.example")
        self.wait_log(fourth + r': .* dsn=5.1.1, status=bounced \(unknown user: "nosuch"\)')

    def test_include_with_its_owners_rights(self):
        self.to("secret@local.example")
        self.arrived("four@dest.example")
        reply = self.to("commands@local.example")
        self.wait_log(reply + r": .* dsn=5.7.1, status=bounced \(mail to command is restricted\)")
        self.assertFalse(os.path.exists(self.path("out/never")))

    def test_forward_and_mailbox(self):
        self.to("Games@local.example")
        self.arrived("copy@dest.example")
        text = self.text("spool/games")
        self.assertTrue(text.endswith("\n>From here\nend\n\n"), text)
        info = os.stat(self.path("spool/games"))
        self.assertEqual((info.st_uid, stat.S_IMODE(info.st_mode)), (self.games.pw_uid, 0o600))
        self.assertFalse(os.path.exists(self.path("spool/games.lock")))
        self.to("daemon@local.example")
        self.assertEqual(self.text("out/daemon"), "daemon\n")

    def test_forward_that_does_not_count(self):
        self.to("bin@local.example", "man@local.example")
        self.wait_log(r"file \S+/forward/bin has bad owner uid \d+")
        self.wait_log(r"file \S+/forward/man is not a regular file")
        self.text("spool/bin")
        self.text("spool/man")

    def test_extension(self):
        self.to("news+tag@local.example")
        self.arrived("tagged@dest.example")
        self.to("news+other@local.example")
        self.assertIn("Delivered-To: news+other@local.example", self.text("spool/news"))

    def test_mailbox_that_is_a_trap(self):
        os.symlink("/etc/shadow", self.path("spool/backup"))
        os.chmod(self.path("spool"), 0o1777)
        os.lchown(self.path("spool/backup"), self.games.pw_uid, self.games.pw_gid)
        self.write("spool/irc", "mine\n", "games")
        first, second = self.to("backup@local.example"), self.to("irc@local.example")
        self.wait_log(first + r": .*status=bounced \(cannot update mailbox")
        self.wait_log(second + r": .*status=(bounced|deferred) \(cannot update mailbox")
        self.assertEqual(self.text("spool/irc"), "mine\n")

    def test_root_owns_its_mailbox_and_no_more(self):
        self.to("root@local.example")
        self.assertTrue(self.text("spool/root").endswith("\n>From here\nend\n\n"))
        info = os.stat(self.path("spool/root"))
        self.assertEqual((info.st_uid, stat.S_IMODE(info.st_mode)), (0, 0o600))
        # A link that somebody else put there is not followed, and not even a file of somebody else's is written.
        for target in ("mine", "/etc/shadow"):
            os.unlink(self.path("spool/root"))
            if target == "mine":
                self.write("spool/root", "mine\n", "games")
            else:
                os.symlink(target, self.path("spool/root"))
                os.lchown(self.path("spool/root"), self.games.pw_uid, self.games.pw_gid)
            reply = self.to("root@local.example")
            self.wait_log(reply + r": .*status=(bounced|deferred) \(cannot update mailbox")
            if target == "mine":
                self.assertEqual(self.text("spool/root"), "mine\n")
        os.unlink(self.path("spool/root"))

    def test_forward_of_root(self):
        self.write("forward/root", "rooted@dest.example\n|id -un > %s/out/root\n" % self.work)
        self.addCleanup(os.unlink, self.path("forward/root"))
        self.to("root@local.example")
        self.arrived("rooted@dest.example")
        self.assertEqual(self.text("out/root"), "nobody\n")

    # -- whether it could be delivered

    def ask(self, address):
        client = self.client()
        client.say("EHLO c")
        client.say("MAIL FROM:<probing@sender.example>")
        reply = client.say("RCPT TO:<%s>" % address)
        client.say("QUIT")
        return reply

    def test_probes_are_answered_and_nothing_is_done(self):
        for address, text in (("lp@local.example", r"delivers to mailbox"), ("team@local.example", r"forwards to (one|two)@dest.example"),
                              ("mark@local.example", r"delivers to command: /usr/bin/touch \S+"), ("store@local.example", r"delivers to file: \S+"),
                              ("sync@dir.example", "delivers to maildir"), ("sync@box.example", "delivers to command: /bin/sh -c .*"),
                              ("games@local.example", r"forward via file: \S+/forward/games"),
                              ("box@virtual.example", "delivers to mailbox"), ("dir@virtual.example", "delivers to maildir"),
                              ("x@piped.example", "delivers to command: /usr/bin/touch")):
            with self.subTest(address):
                self.assertEqual(self.ask(address), "250 2.1.5 Ok")
                self.wait_log(r"to=<%s>.* dsn=2\.0\.0, status=deliverable \(%s\)" % (address, text))
        for address, text in (("nobody-here@local.example", 'unknown user: "nobody-here"'), ("none@virtual.example", 'unknown user: "none@virtual.example"'),
                              ("commands@local.example", "mail to command is restricted")):
            with self.subTest(address):
                self.assertRegex(self.ask(address), r"^550 5\.1\.1 <%s>: Recipient address rejected: undeliverable address: %s$" % (address, text))
                self.wait_log(r"to=<%s>.* status=undeliverable \(%s\)" % (address, text))
        self.assertRegex(self.ask("low@virtual.example"), "^450 4.1.1 .*unverified address: mail system configuration error$")
        for name in ("out/marked", "out/stored", "spool/lp", "out/piped"):
            self.assertFalse(os.path.exists(self.path(name)), name)

    def test_report_of_sendmail_bv(self):
        self.instance.command("sendmail", "-bv", "-f", "asker@dest.example", "team@local.example", "lp@local.example", "none@local.example",
                              env=dict(os.environ, MAIL_CONFIG=self.instance.conf))
        report = self.arrived("asker@dest.example").content.decode()
        for text in ("delivers to mailbox", "unknown user", "Action: deliverable", "Action: undeliverable"):
            self.assertIn(text, report)
        # Of an alias, each of those that it stands for.
        for name in ("one", "two"):
            self.assertIn("forwards to %s@dest.example" % name, report)
            self.assertIn("Final-Recipient: rfc822; %s@dest.example" % name, report)
        self.assertFalse(os.path.exists(self.path("spool/lp")))
        self.assertFalse(any("two@dest" in " ".join(m.recipients) for m in self.next.messages))

    # -- extensions and other people's names

    def test_extensions_go_along_where_that_is_wanted(self):
        self.to("team+tag@propagate.example")
        self.arrived("one+tag@dest.example", "two+tag@dest.example")
        self.to("mail+other@propagate.example")   # has no .forward of that extension; the plain one
        self.arrived("plain+other@dest.example")
        self.to("news+tag@propagate.example")     # has one
        self.arrived("tagged@dest.example")
        self.to("secret+tag@propagate.example")
        self.arrived("four+tag@dest.example")
        self.to("team+tag@local.example")
        self.arrived("one@dest.example", "two@dest.example")

    def test_biff(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as comsat:
            try:
                comsat.bind(("127.0.0.1", socket.getservbyname("biff", "udp")))
            except OSError as why:
                self.skipTest(str(why))
            comsat.settimeout(10)
            self.to("www-data@local.example")
            self.assertEqual(comsat.recv(100), b"www-data@0\0")
            size = os.path.getsize(self.path("spool/www-data"))
            self.to("www-data@local.example")
            self.assertEqual(comsat.recv(100), b"www-data@%d\0" % size)

    def test_home_that_must_be_there(self):
        reply = self.to("sys@home.example")
        self.wait_log(reply + r": to=<sys@home.example>.*status=sent \(delivered to mailbox\)")
        reply = self.to("nobody@home.example")
        self.wait_log(reply + r": to=<nobody@home.example>.*dsn=4\.3\.0, status=deferred \(cannot access home directory /nonexistent: No such file")

    def test_maildir_and_command(self):
        self.to("proxy@dir.example")
        new = self.path("spool/proxy/new")
        wait_until(lambda: os.path.isdir(new) and len(os.listdir(new)) == 1, 10, "the message in new")
        self.assertEqual(os.listdir(self.path("spool/proxy/tmp")), [])
        self.assertEqual(os.stat(new).st_uid, pwd.getpwnam("proxy").pw_uid)
        self.to("sync+x@box.example")
        self.assertEqual(self.text("out/command"), "sync,x,a@sender.example\n")

    def test_virtual(self):
        self.to("box@virtual.example", "dir@virtual.example")
        self.assertIn("Delivered-To: box@virtual.example\n", self.text("virtual/boxes/box"))
        self.assertEqual(os.stat(self.path("virtual/boxes/box")).st_uid, self.games.pw_uid)
        new = self.path("virtual/dir/new")
        wait_until(lambda: os.path.isdir(new) and len(os.listdir(new)) == 1, 10, "the message in new")
        self.wait_log(r"to=<dir@virtual.example>, relay=virtual, .* dsn=2.0.0, status=sent \(delivered to maildir\)")
        reply = self.to("low@virtual.example")
        self.wait_log(reply + r": .* dsn=4.3.5, status=deferred \(mail system configuration error\)")

    def test_large_message(self):
        self.to("uucp@local.example", content=MAIL + b"0123456789abcdef\r\n" * 200000)
        wait_until(lambda: os.path.exists(self.path("spool/uucp")) and os.path.getsize(self.path("spool/uucp")) > 3400000, 10, "all of it")
        self.to("team@local.example", content=MAIL + b"fedcba9876543210\r\n" * 100000)
        wait_until(lambda: any(m.content.count(b"fedcba9876543210\r\n") == 100000 for m in list(self.next.messages)), 15, "all of it")


if __name__ == "__main__":
    case.main()
