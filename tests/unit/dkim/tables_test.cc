// opendkim's tables, and who the author is.
#include <catch2/catch.hpp>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdio>

#include "plugins/dkim/keys.h"
#include "plugins/dkim/tables.h"

using namespace millrace::dkim;

TEST_CASE("dkim author: of From fields", "[dkim]") {
  struct Case {
    const char *value, *address;
  };
  const auto one = GENERATE(values<Case>({
      {" a@example.com", "a@example.com"},
      {" A Name <a@Example.COM>\r\n", "a@example.com"},
      {" \"b@evil.example\" <a@example.com>", "a@example.com"},
      {" \"quoted \\\" <x@y.example>\" <a@example.com>", "a@example.com"},
      {" (c@evil.example) a@example.com (more)", "a@example.com"},
      {" a@example.com, b@other.example", "a@example.com"},
      {" Group: a@example.com, b@other.example;", "a@example.com"},
      {" <@relay.example:a@example.com>", "a@example.com"},
      {" \"odd one\"@example.com", "odd one@example.com"},
      {" A\r\n\t<a@\r\n example.com>", "a@example.com"},
      {" nobody", ""},
      {" <>", ""},
      {" a@", ""},
      {" undisclosed:;", ""},
      {" a@exa..mple", ""},
  }));
  CAPTURE(one.value);
  const auto author = parse_author(one.value);
  CHECK((author ? author->address() : "") == one.address);
}

TEST_CASE("dkim tables: keys", "[dkim]") {
  const auto good = parse_key_table("# keys\nk1 example.com:sel:/etc/keys/k1\n\n  any\t%:s2:/etc/keys/k2  \n");
  const auto& table = std::get<KeyTable>(good);
  REQUIRE(table.size() == 2);
  CHECK(table.at("k1").domain == "example.com");
  CHECK(table.at("k1").selector == "sel");
  CHECK(table.at("any").path == "/etc/keys/k2");
  const auto problem = [](const char* text) { return std::get<std::string>(parse_key_table(text)); };
  CHECK(problem("k1 example.com:sel") == "line 1: expected DOMAIN:SELECTOR:/PATH behind the name");
  CHECK(problem("\nk1") == "line 2: expected \"NAME DOMAIN:SELECTOR:/PATH\"");
  CHECK(problem("k a b:c:/d x") == "line 1: expected \"NAME DOMAIN:SELECTOR:/PATH\"");
  CHECK(problem("k a:s:/d\nk a:s:/d") == "line 2: k is there twice");
  CHECK(problem("k a:s:/d/%") == "line 1: % in the path of a key is not supported: keys are read when the server starts");
  CHECK(problem("k a:s:MIISECRET").find("SECRET") == std::string::npos);
}

TEST_CASE("dkim tables: signers, looked for as opendkim does", "[dkim]") {
  const auto parsed = SigningTable::parse("a@sub.example.com exact\nsub.example.com domain @%\na@.example.com user-parent\n.example.com parent\na@* user\n* all\n", false);
  const auto& table = std::get<SigningTable>(parsed);
  const auto found = [&](const char* local, const char* domain) {
    std::string out;
    for (const SigningEntry* one : table.find({local, domain})) out += one->key + " ";
    return out;
  };
  CHECK(found("a", "sub.example.com") == "exact domain user-parent parent user all ");
  CHECK(found("b", "sub.example.com") == "domain parent all ");
  CHECK(found("A", "other.example") == "user all ");
  CHECK(found("b", "example.com") == "all ");
  const auto wild = SigningTable::parse("*@example.com k1\na*@*.Example.com k2\n*@* k3 x@y\n", true);
  const auto keys = [&](const char* local, const char* domain) {
    std::string out;
    for (const SigningEntry* one : std::get<SigningTable>(wild).find({local, domain})) out += one->key + " ";
    return out;
  };
  CHECK(keys("b", "example.com") == "k1 k3 ");
  CHECK(keys("Ann", "sub.example.com") == "k2 k3 ");
  CHECK(keys("x", "example.org") == "k3 ");
  CHECK(std::get<std::string>(SigningTable::parse("one", true)) == "line 1: expected \"PATTERN KEY-NAME [IDENTITY]\"");
}

TEST_CASE("dkim tables: wildcards", "[dkim]") {
  CHECK(matches_wildcard("*", ""));
  CHECK(matches_wildcard("a*b*c", "axxbyyc"));
  CHECK_FALSE(matches_wildcard("a*b*c", "axxbyy"));
  CHECK_FALSE(matches_wildcard("", "a"));
  CHECK(matches_wildcard("**a", "bba"));
  CHECK_FALSE(matches_wildcard("*a*a*a*a*a*a*b", std::string(20000, 'a')));   // no exponential time
}

TEST_CASE("dkim keys: files that others may read are refused", "[dkim]") {
  char name[] = "/tmp/dkim-key-XXXXXX";
  const int fd = ::mkstemp(name);
  REQUIRE(fd >= 0);
  REQUIRE(::write(fd, "text", 4) == 4);
  ::close(fd);
  std::string problem;
  CHECK(read_file(name, true, problem) == "text");
  CHECK(problem.empty());
  for (const unsigned mode : {0640u, 0604u, 0620u}) {
    ::chmod(name, mode);
    problem.clear();
    CHECK(read_file(name, true, problem).empty());
    CHECK(problem == std::string(name) + ": a private key that others may read or write: set its mode to 0600");
    problem.clear();
    CHECK(read_file(name, false, problem) == "text");
  }
  ::unlink(name);
  problem.clear();
  CHECK(read_file(name, true, problem).empty());
  CHECK(problem.find("No such file") != std::string::npos);
}

TEST_CASE("dkim keys: a ring out of tables", "[dkim]") {
  std::map<std::string, std::string> files = {
      {"/kt", "k1 example.com:sel:/k1\nk2 %:s2:/k2\n"},
      {"/st", "*@example.com k1 sub@mail.%\n*@example.org k2 x@other.example\n*@example.net %\n"},
      {"/k1", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, {"/k2", "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}};
  const FileReader read = [&](const std::string& path, bool, std::string& problem) {
    if (files.count(path) == 0) problem = path + ": gone";
    return files.count(path) == 0 ? std::string() : files.at(path);
  };
  SignSettings settings;
  settings.key_table = "/kt";
  settings.signing_table = "refile:/st";
  auto loaded = KeyRing::load(settings, read);
  REQUIRE(std::holds_alternative<KeyRing>(loaded));
  const KeyRing& ring = std::get<KeyRing>(loaded);
  CHECK(ring.size() == 2);
  const auto first = ring.find({"a", "example.com"});
  REQUIRE(first.size() == 1);
  CHECK(first[0].domain == "example.com");
  CHECK(first[0].identity == "sub@mail.example.com");
  const auto second = ring.find({"a", "example.org"});
  REQUIRE(second.size() == 1);
  CHECK(second[0].domain == "example.org");
  CHECK(second[0].identity.empty());   // not below d=
  CHECK(ring.find({"a", "example.net"}).empty());
  const auto problem = [&](const char* path, const char* text) {
    const std::string kept = files[path];
    files[path] = text;
    const auto result = KeyRing::load(settings, read);
    files[path] = kept;
    return std::get<std::string>(result);
  };
  CHECK(problem("/st", "* nokey") == "/st: the key \"nokey\" is not in the key table");
  CHECK(problem("/kt", "x") == "/kt, line 1: expected \"NAME DOMAIN:SELECTOR:/PATH\"");
  CHECK(problem("/k1", "SECRET") == "/k1: holds no private key that can be read without a pass phrase");
  settings.signing_table = "hash:/st";
  CHECK(std::get<std::string>(KeyRing::load(settings, read)) == "signing_table: \"hash:/st\": a path, file:PATH or refile:PATH");
}
