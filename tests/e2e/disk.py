#!/usr/bin/python3
"""A disk that fills up and one that lies: 452 and recovery; a damaged message becomes corrupt, the others arrive."""
import glob
import os
import re
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MAIL = b"From: a@sender.example\r\nTo: b@dest.example\r\nSubject: x\r\n\r\nhello\r\n"


def large(mark):
    return MAIL + b"%s 0123456789 0123456789 0123456789 0123456789\r\n" % mark * 2000


def mounts():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode == 0


@unittest.skipUnless(mounts(), "no right to mount")
class Full(case.Case):
    MAIN = "message_size_limit = 2000000\nminimal_backoff_time = 1s\nqueue_run_delay = 1s\nmaximal_backoff_time = 2s\n"
    SIZE = 24

    @classmethod
    def prepare(cls):
        cls.disk = os.path.join(cls.work, "disk")
        os.makedirs(cls.disk)
        cls.mount()
        cls.addClassCleanup(subprocess.run, ["umount", "-l", cls.disk], check=False)

    @classmethod
    def mount(cls):
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dm,mode=755" % cls.SIZE, "none", cls.disk], check=True)

    @classmethod
    def make(cls, name, main="", files=None, master="", **more):
        return super().make(name, main, files, master, queue=os.path.join(cls.disk, name), **more)

    def fill(self, leave=0):
        """Takes all space but `leave` bytes."""
        ballast = os.path.join(self.disk, "ballast")
        self.addCleanup(lambda: os.path.exists(ballast) and os.unlink(ballast))
        with open(ballast, "wb", buffering=0) as out:
            block = b"\0" * 65536
            try:
                while True:
                    status = os.statvfs(self.disk)
                    free = status.f_bavail * status.f_frsize - leave
                    if free <= 0:
                        break
                    out.write(block[:min(len(block), free)])
            except OSError:
                pass
        return ballast

    def test_full(self):
        self.assertIn("queued as", self.submit(MAIL))
        self.next.wait(1)
        waiting = self.client()
        for line in ("EHLO c", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>"):
            waiting.say(line)
        big = self.client()
        for line in ("EHLO c", "MAIL FROM:<a@sender.example>", "RCPT TO:<b@dest.example>", "DATA"):
            big.say(line)
        big.send(b"Subject: x\r\n\r\n" + b"x" * 70 + b"\r\n")
        ballast = self.fill()
        time.sleep(1.2)
        reply = self.submit(MAIL)
        self.assertTrue(reply.startswith("452 4.3.1 "), reply)
        waiting.say("DATA")
        waiting.send(MAIL + b".\r\n")
        reply = waiting.reply()
        self.assertTrue(reply.startswith("452 4.3.1 "), reply)
        big.send((b"y" * 76 + b"\r\n") * 15000 + b".\r\n")
        reply = big.reply()
        self.assertTrue(reply.startswith("452 4.3.1 "), reply)
        self.wait_log("(?i)space")
        self.assertTrue(big.say("NOOP").startswith("250"))
        os.unlink(ballast)
        time.sleep(1.2)
        for client in (waiting, big):
            self.assertIn("queued as", client.message(MAIL, helo=""))
        self.assertIn("queued as", self.submit(large(b"again")))
        self.next.wait(4)
        self.assertIsNone(self.instance.process.poll())
        wait_until(lambda: "is empty" in self.instance.command("queue", "-p").stdout, 10, "an empty queue")

    def test_filled_by_mail(self):
        # The queue itself fills the disk; every message that was acknowledged arrives once there is room.
        self.next.replies["RCPT"] = "450 4.2.0 later"
        accepted, refused = 0, 0
        client = self.client()
        client.say("EHLO c")
        for number in range(600):
            reply = client.message(large(b"%d" % number), helo="")
            if "queued as" in reply:
                accepted += 1
            else:
                self.assertTrue(reply.startswith("452 4.3.1 "), reply)
                client.say("RSET")
                refused += 1
                if refused > 10:
                    break
        self.assertGreater(accepted, 10)
        self.assertGreater(refused, 0)
        self.fill()
        time.sleep(1)
        # Deliveries need the store too: they go on without space.
        self.next.replies.clear()
        self.instance.command("queue", "-f")
        self.next.wait(accepted, 40)
        os.unlink(os.path.join(self.disk, "ballast"))
        wait_until(lambda: "is empty" in self.instance.command("queue", "-p").stdout, 20, "an empty queue")
        self.assertIn("queued as", self.submit(MAIL))


@unittest.skipUnless(mounts() and os.path.exists("/dev/loop-control"), "no loop devices")
class FullFilesystem(Full):
    """The same on a real file system, which may say no later than tmpfs does."""
    SIZE = 40

    @classmethod
    def mount(cls):
        image = os.path.join(cls.work, "image")
        with open(image, "wb") as out:
            out.truncate(cls.SIZE << 20)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        if subprocess.run(["mount", "-o", "loop", image, cls.disk], capture_output=True, check=False).returncode != 0:
            raise unittest.SkipTest("no loop devices")


class Damaged(case.Case):
    MAIN = "minimal_backoff_time = 300s\nmaximal_backoff_time = 300s\nqueue_run_delay = 300s\n"

    def deferred(self, count):
        wait_until(lambda: self.instance.command("queue", "-j").stdout.count('"deferred"') == count, 15, "%d deferred" % count)

    def names(self, queue):
        return re.findall(r'"queue_name": "%s", "queue_id": "(\w+)"' % queue, self.instance.command("queue", "-j").stdout)

    def side_file(self, mark):
        for path in glob.glob(os.path.join(self.instance.queue, "store", "**"), recursive=True):
            if os.path.isfile(path) and not path.endswith(".mdb"):
                with open(path, "rb") as source:
                    if mark in source.read():
                        return path
        self.fail("no side file with %r" % mark)

    def test_side_file(self):
        self.next.replies["RCPT"] = "450 4.2.0 later"
        ids = {mark: self.queue_id(self.submit(large(mark))) for mark in (b"alpha", b"bravo", b"charlie", b"delta")}
        self.deferred(4)
        with open(self.side_file(b"bravo"), "r+b") as out:
            out.seek(40000)
            out.write(b"FLIPPED")
        with open(self.side_file(b"charlie"), "r+b") as out:
            out.truncate(5000)
        self.next.replies.clear()
        self.instance.command("queue", "-f")
        self.next.wait(2)
        for mark in (b"bravo", b"charlie"):
            self.wait_log(r"(warning|error|fatal): .*%s.*|%s.*corrupt" % (ids[mark], ids[mark]))
        wait_until(lambda: sorted(self.names("corrupt")) == sorted([ids[b"bravo"], ids[b"charlie"]]), 10, "two corrupt")
        time.sleep(0.5)
        got = sorted(mark for message in self.next.messages for mark in ids if mark in message.content)
        self.assertEqual(got, [b"alpha", b"delta"])
        for message in self.next.messages:
            self.assertNotIn(b"FLIPPED", message.content)
        self.assertEqual(self.names("deferred"), [])
        self.instance.command("super", "-d", "ALL", "corrupt")
        self.assertEqual(self.names("corrupt"), [])

    def test_in_the_database(self):
        self.next.replies["RCPT"] = "450 4.2.0 later"
        ids = {mark: self.queue_id(self.submit(MAIL + b"unmistakable-%s-text\r\n" % mark)) for mark in (b"alpha", b"bravo", b"charlie")}
        self.deferred(3)
        self.instance.stop()
        path = glob.glob(os.path.join(self.instance.queue, "store", "*.mdb"))
        path = [p for p in path if "lock" not in p][0]
        with open(path, "r+b") as database:
            content, at = database.read(), -1
            while (at := content.find(b"unmistakable-bravo-text", at + 1)) >= 0:
                database.seek(at)
                database.write(b"unmistakeable")
        self.next.replies.clear()
        self.instance.start()
        self.instance.command("queue", "-f")
        self.next.wait(2)
        wait_until(lambda: self.names("corrupt") == [ids[b"bravo"]], 10, "one corrupt")
        self.wait_log(ids[b"bravo"] + ".*corrupt|(warning|error).*" + ids[b"bravo"])
        self.assertFalse(any(b"bravo" in message.content for message in self.next.messages))
        self.assertIn("queued as", self.submit(MAIL))
        self.next.wait(3)
        self.instance.command("super", "-d", "ALL", "corrupt")

    def test_side_file_missing(self):
        self.next.replies["RCPT"] = "450 4.2.0 later"
        ids = [self.queue_id(self.submit(large(mark))) for mark in (b"golf", b"hotel")]
        self.deferred(2)
        os.unlink(self.side_file(b"golf"))
        self.instance.stop()
        self.next.replies.clear()
        self.instance.start()
        self.instance.command("queue", "-f")
        self.assertIn(b"hotel", self.next.wait(1)[0].content)
        wait_until(lambda: self.names("corrupt") == ids[:1], 10, "one corrupt: " + self.instance.command("queue", "-j").stdout)
        self.instance.command("super", "-d", "ALL", "corrupt")

    def test_store_of_nonsense(self):
        instance = self.make("nonsense")
        instance.start()
        instance.stop()
        for path in glob.glob(os.path.join(instance.queue, "store", "*.mdb")):
            with open(path, "r+b") as out:
                out.write(b"nonsense" * 2048)
        done = instance.command("start-fg", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(instance.queue, done.stderr)


if __name__ == "__main__":
    case.main()
