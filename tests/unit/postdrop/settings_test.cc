#include "core/postdrop/settings.h"

#include <catch2/catch.hpp>

using millrace::postdrop::Allowed;
using millrace::postdrop::is_listed;
using millrace::postdrop::is_word_of;
using millrace::postdrop::Settings;

TEST_CASE("settings: logical lines and $name, as main.cf has them", "[postdrop]") {
  const Settings settings(
      "# comment\nqueue_directory = ${base}/queue\n  # inside\nbase = /var\n\t/spool\nlist=a,\n b\n\nlast = $config_directory/x\n"
      "base = /srv\nmoney = a$$b\nloop = $pool\npool = $loop\nodd = ${base?x}\nmissing = $nothing\nno equals sign\n",
      "/etc/here");
  CHECK(settings.value("queue_directory", "") == "/srv/queue");
  CHECK(settings.value("list", "") == "a, b");
  CHECK(settings.value("last", "") == "/etc/here/x");
  CHECK(settings.value("money", "") == "a$b");
  CHECK(settings.value("unset", "default") == "default");
  CHECK_FALSE(settings.value("loop", ""));
  CHECK_FALSE(settings.value("odd", ""));
  CHECK_FALSE(settings.value("missing", ""));
  CHECK_FALSE(Settings("x = ${", "/").value("x", ""));
  CHECK(Settings(std::string("q = /a\0b\n", 9), "/").value("q", "") == std::string("/a\0b", 4));
}

TEST_CASE("settings: a value cannot grow without bound", "[postdrop]") {
  std::string text = "a0 = xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\n";
  for (int i = 1; i < 20; ++i) {
    const std::string before = "$a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + " = " + before + before + before + before + "\n";
  }
  CHECK_FALSE(Settings(text, "/").value("a19", ""));
}

TEST_CASE("settings: who may submit", "[postdrop]") {
  CHECK(is_listed("static:anyone", "joe") == Allowed::yes);
  CHECK(is_listed("", "joe") == Allowed::no);
  CHECK(is_listed("root, joe", "joe") == Allowed::yes);
  CHECK(is_listed("root", "joe") == Allowed::no);
  CHECK(is_listed("!www-data, static:all", "www-data") == Allowed::no);
  CHECK(is_listed("!www-data, static:all", "joe") == Allowed::yes);
  CHECK(is_listed("!static:all", "joe") == Allowed::no);
  CHECK(is_listed("joe, hash:/etc/users", "joe") == Allowed::yes);
  CHECK(is_listed("hash:/etc/users, joe", "joe") == Allowed::ask_others);
  CHECK(is_listed("/etc/users", "joe") == Allowed::ask_others);
  CHECK(is_word_of("/etc/a, /etc/b", "/etc/b"));
  CHECK_FALSE(is_word_of("/etc/a, /etc/b", "/etc"));
  CHECK_FALSE(is_word_of("", ""));
}
