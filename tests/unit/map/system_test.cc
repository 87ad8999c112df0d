// Tables of the system, randmap and proxy.  The answers are those of Postfix 3.7's postmap -q.
#include <catch2/catch.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <set>

#include "core/map/table.h"
#include "tests/support/on_loop.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

namespace {
std::string text(const map::Lookup& found) {
  if (!found) return "(error) " + found.error().context;
  return found->value_or("(none)");
}
std::string why(map::TableSet& tables, const std::string& name) {
  const auto opened = tables.open(name);
  return opened ? "" : opened.error().context;
}
}  // namespace

TEST_CASE("unix: users and groups, inside of a fiber and without a loop", "[map][system]") {
  map::TableSet tables({});
  const auto users = tables.open("unix:passwd.byname").value(), groups = tables.open("unix:group.byname").value();
  const auto check = [&] {
    CHECK(text(users->find("root")).substr(0, 11) == "root:x:0:0:");
    CHECK(text(users->find("ROOT")).substr(0, 5) == "root:");
    CHECK(text(users->find("no-such-user-here")) == "(none)");
    CHECK(text(users->find(std::string_view("root\0", 5))) == "(none)");
    CHECK(text(groups->find("root")) == "root:x:0:");
    CHECK(text(groups->find("no-such-group-here")) == "(none)");
  };
  check();
  test::on_loop(check);
  CHECK(why(tables, "unix:shadow.byname") == "unknown table: unix:shadow.byname");
}

TEST_CASE("environ and internal", "[map][system]") {
  map::TableSet tables({});
  ::setenv("mr_table_test", "value", 1);
  CHECK(text(tables.open("environ:x").value()->find("MR_TABLE_TEST")) == "value");
  CHECK(text(tables.open("environ:x").value()->find("mr_no_such")) == "(none)");
  CHECK(text(tables.open("internal:x").value()->find("anything")) == "(none)");
}

TEST_CASE("randmap: any of its values, whatever the key", "[map][system]") {
  map::TableSet tables({});
  const auto table = tables.open("randmap:{ a, {b c} d }").value();
  std::set<std::string> seen;
  for (int i = 0; i < 500; ++i) seen.insert(text(table->find("x")));
  CHECK(seen == std::set<std::string>{"a", "{b c}", "d"});
  CHECK(table->is_pattern());
  for (const char* bad : {"randmap:a", "randmap:{}", "randmap:{"}) {
    CHECK(why(tables, bad) == "bad syntax: \"" + std::string(bad) + "\"; need \"randmap:{value...}\"");
  }
}

TEST_CASE("proxy: the table itself, when proxy_read_maps has it", "[map][system]") {
  map::TableOptions options;
  options.proxy_read_maps = "hash:/x proxy:inline:{ a=b }, proxy:proxy:static:s";
  map::TableSet tables(options);
  CHECK(text(tables.open("proxy:inline:{ a=b }").value()->find("A")) == "b");
  CHECK(text(tables.open("proxy:static:s").value()->find("any")) == "s");
  CHECK(tables.open("proxy:static:s").value()->is_pattern());
  CHECK(tables.open("proxy:static:s").value()->name() == "proxy:static:s");
  CHECK(why(tables, "proxy:hash:/x") ==
        "proxymap service is not configured for table \"hash:/x\": to approve it for read-only access, list "
        "proxy:hash:/x in proxy_read_maps");
  CHECK(why(tables, "proxy:static:other").substr(0, 8) == "proxymap");
}

TEST_CASE("proxy: opened with the rights of the mail owner", "[map][system]") {
  if (::geteuid() != 0) return;
  const test::TemporaryDirectory directory;
  ::chmod(directory.path().c_str(), 0755);
  directory.write("secret", "a b\n");
  directory.write("open", "a b\n");
  ::chmod((directory.path() + "/secret").c_str(), 0600);
  ::chmod((directory.path() + "/open").c_str(), 0644);
  map::TableOptions options;
  options.proxy_owner = map::TableOptions::Proxy{65534, 65534};
  map::TableSet tables(options);
  const std::string secret = "texthash:" + directory.path() + "/secret";
  CHECK(tables.open(secret));
  CHECK_FALSE(tables.open("proxy:" + secret));
  CHECK(::geteuid() == 0);
  CHECK(tables.open("proxy:texthash:" + directory.path() + "/open"));
}

TEST_CASE("tables made of others suspend when one of them does", "[map][system]") {
  map::TableSet tables({});
  CHECK(tables.open("unionmap:{static:a, unix:passwd.byname}").value()->may_suspend());
  CHECK_FALSE(tables.open("unionmap:{static:a, inline:{ a=b }}").value()->may_suspend());
  CHECK(map::Maps::open(tables, "static:a, proxy:unix:group.byname")->may_suspend());
  CHECK(map::MatchList::open(tables, "a.example tcp:127.0.0.1:9", map::MatchList::Kind::string, false)->may_suspend());
}

TEST_CASE("alias tables: a text without FILE.lmdb is aliases(5)", "[map][system]") {
  const test::TemporaryDirectory directory;
  directory.write("aliases", "Joe: ann,\n bob\n");
  map::TableSet tables({});
  const std::string name = "hash:" + directory.path() + "/aliases";
  CHECK(text(tables.open_aliases(name).value()->find("joe")) == "ann, bob");
  CHECK(text(tables.open(name).value()->find("joe:")) == "ann, bob");   // the same file, read as a postmap source
}
