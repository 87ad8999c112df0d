#include <catch2/catch.hpp>

#include "core/map/table.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;
using map::MatchList;

namespace {
bool matches(std::string_view list, std::string_view what, MatchList::Kind kind, bool parent = false) {
  map::TableSet tables({});
  auto made = MatchList::open(tables, list, kind, parent);
  REQUIRE(made);
  const auto result = made->matches(what);
  REQUIRE(result);
  return *result;
}
}  // namespace

TEST_CASE("match list: domains and their parents", "[map][list]") {
  const auto domain = [](std::string_view list, std::string_view name, bool parent) {
    return matches(list, name, MatchList::Kind::domain, parent);
  };
  CHECK(domain("a.example b.example", "B.example", false));
  CHECK(domain("b.example", "x.b.example", true));
  CHECK_FALSE(domain("b.example", "x.b.example", false));
  CHECK(domain(".b.example", "x.b.example", false));
  CHECK_FALSE(domain(".b.example", "b.example", false));
  CHECK_FALSE(domain("b.example", "xb.example", true));
  CHECK_FALSE(domain("!x.b.example, b.example", "x.b.example", true));
  CHECK(domain("!x.b.example, b.example", "y.b.example", true));
  CHECK(domain("inline:{b.example=x}", "y.b.example", true));
  CHECK_FALSE(domain("inline:{b.example=x}", "y.b.example", false));
  CHECK(domain("inline:{.b.example=x}", "z.y.b.example", false));
  CHECK_FALSE(domain("pcre:{{/^b.example$/ x}}", "y.b.example", true));
  CHECK_FALSE(domain("", "a", true));
}

TEST_CASE("match list: addresses and networks", "[map][list]") {
  const auto address = [](std::string_view list, std::string_view what) {
    return matches(list, what, MatchList::Kind::address);
  };
  CHECK(address("127.0.0.0/8 [::1]/128, 10.0.0.1", "127.5.5.5"));
  CHECK(address("127.0.0.0/8 [::1]/128, 10.0.0.1", "::1"));
  CHECK(address("127.0.0.0/8 [::1]/128, 10.0.0.1", "10.0.0.1"));
  CHECK_FALSE(address("127.0.0.0/8 [::1]/128, 10.0.0.1", "10.0.0.2"));
  CHECK_FALSE(address("!10.0.0.1 10.0.0.0/8", "10.0.0.1"));
  CHECK(address("cidr:{{10.0.0.0/8 x}}", "10.0.0.1"));
  CHECK(address("[2001:db8::1]", "2001:DB8:0::1"));
}

TEST_CASE("match list: host names and addresses alike", "[map][list]") {
  map::TableSet tables({});
  auto list = MatchList::open(tables, "!bad.example .example 10.0.0.0/8", MatchList::Kind::address, false);
  REQUIRE(list);
  CHECK_FALSE(list->matches_host("bad.example", "10.0.0.1").value());
  CHECK(list->matches_host("good.example", "11.0.0.1").value());
  CHECK(list->matches_host("unknown", "10.0.0.1").value());
  CHECK_FALSE(list->matches_host("unknown", "11.0.0.1").value());
}

TEST_CASE("match list: what cannot be used is a configuration error", "[map][list]") {
  map::TableSet tables({});
  const auto why = [&](std::string_view list) {
    auto made = MatchList::open(tables, list, MatchList::Kind::address, false);
    REQUIRE_FALSE(made);
    CHECK(made.error().code == Errc::config);
    return made.error().context;
  };
  CHECK(why("10.0.0.1/8").find("non-null host address bits") == 0);
  CHECK(why("!") == "no pattern after '!' in \"!\"");
  CHECK(why("/nowhere/at/all") == "open /nowhere/at/all: No such file or directory");
  CHECK(why("::1") == "expecting \"type:name\" form instead of \"::1\"");
  CHECK(why("foo:bar") == "unsupported dictionary type: foo");
}

TEST_CASE("match list: files, also inside files, also turned round", "[map][list]") {
  const test::TemporaryDirectory directory;
  const std::string inner = directory.write("inner", "# c\nb.example\n  c.example\n");
  const std::string outer = directory.write("outer", "a.example\n" + inner + "\n");
  CHECK(matches(outer, "c.example", MatchList::Kind::string));
  CHECK_FALSE(matches("!" + outer + " inline:{c.example=x}", "c.example", MatchList::Kind::string));
  const std::string loop = directory.path() + "/loop";
  directory.write("loop", loop);
  map::TableSet tables({});
  CHECK_FALSE(MatchList::open(tables, loop, MatchList::Kind::string, false));
}

TEST_CASE("match list: a table's error is an error", "[map][list]") {
  map::TableSet tables({});
  auto list = MatchList::open(tables, "a.example fail:x", MatchList::Kind::domain, false);
  REQUIRE(list);
  CHECK(list->matches("a.example").value());
  CHECK_FALSE(list->matches("b.example"));
}

TEST_CASE("maps: order, errors and the keys of an address", "[map][list]") {
  map::TableSet tables({});
  auto maps = map::Maps::open(tables, "inline:{a=1} inline:{a=2, b=3}").value();
  CHECK(maps.find("a").value() == "1");
  CHECK(maps.find("b").value() == "3");
  CHECK(maps.find("c").value() == std::nullopt);
  CHECK_FALSE(map::Maps::open(tables, "inline:{a=1} fail:x").value().find("b"));
  CHECK(map::Maps::open(tables, "inline:{a=1} fail:x").value().find("a").value() == "1");

  const auto is_local = [](std::string_view domain) { return domain == "here.example"; };
  struct Case { const char *table, *address, *value, *extension; };
  const auto one = GENERATE(values<Case>({
      {"inline:{u+x@d=full,u@d=bare,@d=all}", "u+x@d", "full", ""},
      {"inline:{u@d=bare,@d=all}", "U+x@D", "bare", "+x"},
      {"inline:{@d=all}", "u+x@d", "all", ""},
      {"inline:{u+x=lext,u=l}", "u+x@here.example", "lext", ""},
      {"inline:{u=l}", "u+x@here.example", "l", "+x"},
      {"inline:{u=l}", "u+x@there.example", nullptr, ""},
      {"inline:{u=l}", "u+x", "l", "+x"},
      {"pcre:{{/^u@d$/ x}, {/^@d$/ y}}", "u+x@d", nullptr, ""},
      {"pcre:{{/^\"a b\"@d$/ quoted}}", "a b@d", "quoted", ""},
      {"pcre:{{/^a b@d$/ plain}}", "a b@d", "plain", ""},
  }));
  CAPTURE(one.table, one.address);
  auto opened = map::Maps::open(tables, one.table);
  std::string extension = "?";
  const auto value = opened->find_address(one.address, "+", is_local, &extension);
  REQUIRE(value);
  CHECK(value->value_or("(none)") == (one.value ? one.value : "(none)"));
  CHECK(extension == one.extension);
}

TEST_CASE("extensions: where a local part is cut", "[map][list]") {
  const auto cut = [](std::string_view local, std::string_view delimiters) {
    const auto [user, extension] = map::split_extension(local, delimiters);
    return std::string(user) + "|" + std::string(extension);
  };
  CHECK(cut("u+x+y", "+") == "u|+x+y");
  CHECK(cut("u-x+y", "+-") == "u|-x+y");
  CHECK(cut("+x", "+") == "+x|");
  CHECK(cut("u+x", "") == "u+x|");
  CHECK(cut("MAILER-DAEMON", "-") == "MAILER-DAEMON|");
  CHECK(cut("double-bounce", "-") == "double-bounce|");
  CHECK(cut("owner-list", "-") == "owner-list|");
  CHECK(cut("list-request", "-") == "list-request|");
  CHECK(cut("owner-list", "+") == "owner-list|");
}
