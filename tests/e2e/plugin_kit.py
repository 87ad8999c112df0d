#!/usr/bin/env python3
"""Plugins as a third party makes them: built from an installed prefix alone, checked by the kit, mailed through.

The kit must also catch what is wrong: tests/e2e/bad_plugin.c does one bad thing for each value of its setting.
"""
import os
import shutil
import subprocess
import sys

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
import case  # noqa: E402


def run(*command, **options):
    return subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=300, check=False, **options)


class Kit(case.Case):
    MAIN = """plugin_directory = %(work)s/plugins
smtpd_filters = { plugin:tutorial, refuse=nobody@dest.example }
"""

    @classmethod
    def prepare(cls):
        cls.prefix = os.path.join(cls.work, "prefix")
        build = os.path.dirname(case.BINARY)
        cls.environment = dict(os.environ, PKG_CONFIG_PATH=cls.prefix + "/share/pkgconfig", MILLRACE=case.BINARY)
        project = os.path.join(cls.work, "tutorial")
        for command in (("cmake", "--install", build + "/sdk", "--prefix", cls.prefix),
                        (case.BINARY, "plugin", "new", "tutorial"),
                        ("cmake", "-S", project, "-B", project + "/build", "-DCMAKE_PREFIX_PATH=" + cls.prefix),
                        ("cmake", "--build", project + "/build")):
            done = run(*command, cwd=cls.work)
            assert done.returncode == 0, done.stdout + done.stderr
        plugins = os.path.join(cls.work, "plugins")
        os.mkdir(plugins, 0o755)
        shutil.copy(project + "/build/tutorial.so", plugins)
        os.chmod(plugins + "/tutorial.so", 0o644)

    def test_template_builds_and_conforms(self):
        for lang in ("c", "cxx"):
            name = "my" + lang
            self.assertEqual(run(case.BINARY, "plugin", "new", "--lang", lang, name, cwd=self.work).returncode, 0)
            done = run("make", "check", cwd=os.path.join(self.work, name), env=self.environment)
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            self.assertIn(f"./{name}.so: conforms", done.stdout)
            again = run(case.BINARY, "plugin", "new", "--lang", lang, name, cwd=self.work)
            self.assertEqual(again.returncode, 1)
            self.assertIn("File exists", again.stderr)

    def test_what_was_built_filters_mail(self):
        client = case.Client(self.instance.port)
        client.say("EHLO client.example")
        client.say("MAIL FROM:<a@client.example>")
        self.assertEqual(client.say("RCPT TO:<nobody@dest.example>"), "550 5.7.1 This address takes no mail")
        client.say("RSET")
        self.assertTrue(client.message(b"Subject: hello\r\n\r\nbody\r\n", helo="").startswith("250"))
        client.close()
        self.next.wait(1)
        self.assertIn(b"X-tutorial: seen", self.next.messages[-1].headers())

    def test_the_manual_from_an_empty_folder(self):
        """The manual's listing and commands, as they stand, with nothing but the installed prefix."""
        with open(ROOT + "/contrib/docs/plugins.md", encoding="utf-8") as file:
            manual = file.read()
        listing, commands = (manual.split("```" + kind + "\n")[1].split("```")[0] for kind in ("cpp", "sh"))
        folder = os.path.join(self.work, "empty")
        os.mkdir(folder)
        with open(folder + "/geo.cc", "w", encoding="utf-8") as file:
            file.write(listing)
        plugins = os.path.join(self.work, "geo-plugins")
        environment = dict(self.environment, PLUGINS=plugins, PATH=os.path.dirname(case.BINARY) + ":" + os.environ["PATH"])
        done = run("sh", "-ec", commands, cwd=folder, env=environment)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("geo.so: conforms", done.stdout)
        os.chmod(plugins, 0o755)
        instance = self.make("geo", "plugin_directory=%s\nsmtpd_filters={ plugin:geo, { table = inline:{127.0.0.1=XY} } }\n" % plugins)
        self.addCleanup(instance.stop)
        instance.start()
        self.assertTrue(self.submit(b"Subject: hello\r\n\r\nbody\r\n", instance=instance).startswith("250"))
        self.next.wait(1)
        self.assertIn(b"X-Country: XY", self.next.messages[-1].headers())
        refused = self.make("no-table", "plugin_directory=%s\nsmtpd_filters=plugin:geo\n" % plugins)
        done = refused.command("check", check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("plugin geo: does not take its configuration: table is needed", done.stdout + done.stderr)

    def build_bad(self):
        plugin = os.path.join(self.work, "bad.so")
        done = run("cc", "-std=c11", "-shared", "-fPIC", "-I", self.prefix + "/include", "-o", plugin,
                   ROOT + "/tests/e2e/bad_plugin.c")
        self.assertEqual(done.returncode, 0, done.stderr)
        return plugin

    def test_kit_finds_what_is_wrong(self):
        plugin = self.build_bad()
        wrong = {
            "none": None,
            "edit": "an edit of a kind it did not declare",
            "body": "it reads the body, which it did not declare",
            "verdict": "a verdict that is none: text with characters",
            "code": "code 250 for action",
            "weird": "on_stage returned 42",
            "twice": "complete() twice for one call",
            "both": "complete(), and a return that is not MR_PENDING",
            "silent": "no answer in its time, and no cancel()",
            "crash": "it ended by signal 11",
            "exit": "it ended the process",
            "leak": "memory grew by",
            "files": "leaves files open",
            "trusting": "it ended by signal 11",
        }
        for what, expected in wrong.items():
            with self.subTest(what):
                done = run(case.BINARY, "plugin", "check", plugin, f"bad={what}")
                if expected is None:
                    self.assertEqual(done.returncode, 0, done.stdout)
                else:
                    self.assertEqual(done.returncode, 1, done.stdout)
                    self.assertIn(expected, done.stdout)

    def test_kit_refuses_what_is_no_plugin(self):
        other, source = os.path.join(self.work, "other.so"), os.path.join(self.work, "other.c")
        with open(source, "w", encoding="ascii") as file:
            file.write("int other;\n")
        run("cc", "-shared", "-fPIC", "-o", other, source)
        done = run(case.BINARY, "plugin", "check", other)
        self.assertEqual(done.returncode, 1)
        self.assertIn("millrace_plugin_entry_v1", done.stdout)
        self.assertEqual(run(case.BINARY, "plugin", "check", os.path.join(self.work, "absent.so")).returncode, 2)


if __name__ == "__main__":
    case.main()
