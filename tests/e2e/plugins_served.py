#!/usr/bin/python3
"""Plugins in the running server: what they offer, new code by reload, and what they do wrong is contained."""
import os
import shutil
import socket
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import case  # noqa: E402
from instance import wait_until  # noqa: E402

MESSAGE = (b"Authentication-Results: mx.mill.example; spf=forged\r\nAuthentication-Results: other.example; dkim=pass\r\n"
           b"Subject: hello\r\n\r\nbody\r\n")


def build(edition):
    """The plugin, made once; a copy of it then."""
    target = os.path.join(build.work, edition + ".so")
    done = subprocess.run(["g++", "-std=c++17", "-shared", "-fPIC", "-fvisibility=hidden", "-I", ROOT + "/sdk/include",
                           '-DEDITION="%s"' % edition, "-o", target, ROOT + "/tests/e2e/served_plugin.cc"],
                          stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


class Served(case.Case):
    MAIN = """plugin_directory = %(work)s/plugins
smtpd_filters = plugin:served plugin:sample
smtpd_recipient_restrictions = check_recipient_access served:anything
mynetworks = 192.0.2.0/24
local_header_rewrite_clients =
smtpd_relay_restrictions = reject_unauth_destination
metrics_listen = unix:%(work)s/metrics
"""

    @classmethod
    def prepare(cls):
        build.work = cls.work
        cls.plugins = os.path.join(cls.work, "plugins")
        os.mkdir(cls.plugins, 0o755)
        cls.install(build("first"))
        cls.install(os.path.join(os.path.dirname(case.BINARY), "plugins", "sample.so"), "sample")

    @classmethod
    def install(cls, file, name="served"):
        """As a package does it: a new file under the old name."""
        shutil.copy(file, cls.plugins + "/.new")
        os.chmod(cls.plugins + "/.new", 0o644)
        os.rename(cls.plugins + "/.new", cls.plugins + "/" + name + ".so")

    def headers(self, instance=None):
        before = len(self.next.messages)
        reply = self.submit(MESSAGE, instance=instance)
        self.assertTrue(reply.startswith("250"), reply)
        self.next.wait(before + 1)
        return [line.decode() for line in self.next.messages[-1].headers()]

    def test_state_results_and_forged_fields(self):
        first, second = self.headers(), self.headers()
        self.assertIn("X-Served: first", first)
        counts = [int(line.split()[1]) for line in first + second if line.startswith("X-Count:")]
        self.assertEqual(counts[1], counts[0] + 1)   # whichever front it was
        results = [line for line in first if line.startswith("Authentication-Results:")]
        self.assertEqual(len(results), 2, results)
        self.assertIn("served=pass", results[0])
        self.assertIn("other.example; dkim=pass", results[1])

    def test_metrics_of_all_processes(self):
        self.headers()
        sock = socket.socket(socket.AF_UNIX)
        self.addCleanup(sock.close)
        sock.connect(self.work + "/metrics")
        sock.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
        text = b"".join(iter(lambda: sock.recv(65536), b"")).decode()
        self.assertRegex(text, r'millrace_plugin_total\{plugin="served",name="messages"\} [1-9]')
        self.assertIn('millrace_plugin_value{plugin="served",name="level"} 0.5', text)

    def test_table_type(self):
        client = self.client()
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@client.example>")
        self.assertIn("said the table", client.say("RCPT TO:<refused@dest.example>"))
        self.assertTrue(client.say("RCPT TO:<broken@dest.example>").startswith("451 4.3.5"))
        self.assertTrue(client.say("RCPT TO:<b@dest.example>").startswith("250"))
        broken = self.make("table", "plugin_directory=%s\nsmtpd_recipient_restrictions=check_recipient_access served:nothing\n" % self.plugins)
        done = broken.command("check", check=False)
        self.assertNotEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("served:nothing", done.stdout + done.stderr)

    def test_observer(self):
        reply = self.submit(MESSAGE)
        pattern = "plugin served: observed sent to b@dest.example by 127.0.0.1[127.0.0.1]:%d id %s code 2" % (self.next.port, self.queue_id(reply))
        wait_until(lambda: pattern in self.instance.log_text(), 10, "the observation")
        self.assertEqual(self.instance.log_text().count(pattern), 1)   # of all fronts one

    def test_order_is_resolved_and_printed(self):
        done = self.instance.command("plugin", "list")
        self.assertIn("smtpd_filters, in order:\n  plugin:sample   (moved by before/after)\n  plugin:served", done.stdout)

    def test_reload_brings_new_code_and_configuration(self):
        instance = self.make("reload", "plugin_directory=%s\nsmtpd_filters=plugin:served\n" % self.plugins)
        self.addCleanup(instance.stop)
        self.addCleanup(lambda: self.install(os.path.join(self.work, "first.so")))
        instance.start()
        old = self.client(instance)
        old.say("EHLO client.example")
        self.assertIn("X-Served: first", self.headers(instance))
        self.install(build("second"))
        instance.command("reload")
        wait_until(lambda: "X-Served: second" in self.headers(instance), 20, "the new code")
        before = len(self.next.messages)
        self.assertTrue(old.message(MESSAGE, helo="").startswith("250"))   # a session that began with the old code
        self.next.wait(before + 1)
        self.assertIn(b"X-Served: first", self.next.messages[-1].headers())
        # What does not start refuses the reload, and says why.
        with open(instance.conf + "/main.cf", encoding="utf-8") as file:
            good = file.read()
        instance.write("main.cf", good.replace("plugin:served", "{ plugin:served, start=no }"))
        refused = instance.command("reload", check=False)
        said = "plugin served: does not take its configuration: told not to start"
        wait_until(lambda: said in refused.stdout + refused.stderr + instance.log_text(), 10, "the reason")
        self.assertIn("X-Served: second", self.headers(instance))
        instance.write("main.cf", good)
        for mode, reason in ((0o666, "is writable by group or others"),):
            os.chmod(self.plugins + "/served.so", mode)
            refused = instance.command("reload", check=False)
            wait_until(lambda: reason in refused.stdout + refused.stderr + instance.log_text(), 10, "the reason")  # noqa: B023
            self.assertIn("X-Served: second", self.headers(instance))
        os.chmod(self.plugins + "/served.so", 0o644)

    def test_a_key_it_does_not_know_is_refused_with_its_place(self):
        wrong = self.make("key", "plugin_directory=%s\nsmtpd_filters={ plugin:served, nonsense=1 }\n" % self.plugins)
        done = wrong.command("check", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertRegex(done.stdout + done.stderr, r'main\.cf, line [0-9]+: .*smtpd_filters.*plugin served: unknown key "nonsense"')

    def test_what_it_does_wrong_is_contained(self):
        expected = {
            "throw": ("451 4.7.1", "plugin served: thrown"),
            "long": ("451 4.7.1", "plugin misbehaving: a text without data, or too long"),
            "twice": ("250", ""),
            "late": ("451 4.7.1", "plugin served: no answer in time"),
            "undeclared": ("250", "plugin misbehaving: an edit of a kind it did not declare"),
        }
        for bad, (code, logged) in expected.items():
            with self.subTest(bad):
                instance = self.make("bad-" + bad, "plugin_directory=%s\nsmtpd_filters={ plugin:served, bad=%s, timeout=1s }\n" % (self.plugins, bad))
                instance.start()
                client = self.client(instance)
                client.say("EHLO client.example")
                client.say("MAIL FROM:<a@client.example>")
                reply = client.say("RCPT TO:<b@dest.example>")
                self.assertTrue(reply.startswith(code), reply)
                if code == "250":
                    before = len(self.next.messages)
                    self.assertTrue(self.submit(MESSAGE, instance=instance).startswith("250"))
                    self.next.wait(before + 1)
                    self.assertIn(b"body", self.next.messages[-1].content)
                    self.assertIn("a@sender.example", self.next.messages[-1].sender)
                    self.assertNotIn("someone@else.example", instance.log_text())
                wait_until(lambda: logged in instance.log_text(), 5, "the log line")  # noqa: B023
                # The next one is served as well as the first.
                again = self.client(instance)
                self.assertTrue(again.say("EHLO client.example").startswith("250"))
                self.assertEqual(instance.stop(), 0)


if __name__ == "__main__":
    case.main()
