// DNS lists as main.cf names them.
#include <catch2/catch.hpp>

#include "core/dnsbl/site.h"

using namespace millrace::dnsbl;

TEST_CASE("dnsbl filter: numbers, ranges and lists of them", "[dnsbl]") {
  const auto matches = [](std::string_view filter, std::string_view address) {
    auto parsed = Filter::parse(filter);
    REQUIRE(parsed);
    return parsed->matches(address);
  };
  CHECK(matches("127.0.0.2", "127.0.0.2"));
  CHECK_FALSE(matches("127.0.0.2", "127.0.0.3"));
  CHECK(matches("127.0.0.[2..4]", "127.0.0.4"));
  CHECK_FALSE(matches("127.0.0.[2..4]", "127.0.0.5"));
  CHECK(matches("127.0.[0;5].[1;3;7..9]", "127.0.5.8"));
  CHECK_FALSE(matches("127.0.[0;5].[1;3;7..9]", "127.0.4.8"));
  CHECK(matches("[0..255].[0..255].[0..255].[0..255]", "255.255.255.255"));
  CHECK_FALSE(matches("127.0.0.2", "127.0.0"));
  CHECK_FALSE(matches("127.0.0.2", "127.0.0.2.1"));
  CHECK_FALSE(matches("127.0.0.2", "2001:db8::1"));
}

TEST_CASE("dnsbl filter: what is malformed is refused", "[dnsbl]") {
  const auto text = GENERATE(values<std::string_view>(
      {"", "127", "127.0.0", "127.0.0.", "127.0.0.256", "127.0.0.1000", "127.0.0.2.3", "127.0.0.[2..4", "127.0.0.[]",
       "127.0.0.[4..2]", "127.0.0.[2,4]", "127.0.0.[2;]", "127.0.0.[2..]", "127.0.0.[..2]", "127.0.0.-1", "a.b.c.d",
       "127.0.0.[2]]", "127.0.0.[2 ]", "127.0.0.*"}));
  CAPTURE(text);
  CHECK_FALSE(Filter::parse(text));
}

TEST_CASE("dnsbl site: domain, filter and weight", "[dnsbl]") {
  auto site = parse_site("bl.example=127.0.0.[2..4]*-3", Weights::taken);
  REQUIRE(site);
  CHECK(site->text == "bl.example=127.0.0.[2..4]");
  CHECK(site->domain == "bl.example");
  REQUIRE(site->filter);
  CHECK(site->filter->matches("127.0.0.3"));
  CHECK(site->weight == -3);
  site = parse_site("key_1.bl.example", Weights::refused);
  REQUIRE(site);
  CHECK(site->weight == 1);
  CHECK_FALSE(site->filter);
  CHECK_FALSE(parse_site("bl.example*2", Weights::refused));
  for (const char* bad : {"", "bl..example", ".example", "bl.example=", "bl.example*", "bl.example*x", "bl.example*99999",
                          "=127.0.0.2", "bl example", "bl.example=1.2.3"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_site(bad, Weights::taken));
  }
}

TEST_CASE("dnsbl queries: addresses are reversed, names are not", "[dnsbl]") {
  CHECK(address_query("192.0.2.1", "bl.example") == "1.2.0.192.bl.example");
  CHECK(address_query("2001:db8::5", "bl.example") ==
        "5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.bl.example");
  CHECK(address_query("client.example", "bl.example") == "");
  CHECK(name_query("a@sub.bad.example", "bl.example") == "sub.bad.example.bl.example");
  CHECK(name_query("helo.example.", "bl.example") == "helo.example.bl.example");
  for (const char* none : {"", "a@", "a@[192.0.2.1]", "[192.0.2.1]", "192.0.2.1", "x.123"}) {
    CAPTURE(none);
    CHECK(name_query(none, "bl.example") == "");
  }
}
