#include "core/deliver/address.h"

#include <catch2/catch.hpp>

#include "core/deliver/target.h"

using namespace millrace::deliver;

TEST_CASE("deliver address: local parts are quoted when they must be", "[deliver][address]") {
  CHECK(quote_821("a.b@x.example") == "a.b@x.example");
  CHECK(quote_821("b 2@dest.example") == "\"b 2\"@dest.example");
  CHECK(quote_821("a@b@x") == "\"a@b\"@x");
  CHECK(quote_821("a\"\\b@x") == "\"a\\\"\\\\b\"@x");
  CHECK(quote_821(".a@x") == "\".a\"@x");
  CHECK(quote_821("jörg@x") == "jörg@x");
  CHECK(quote_821("").empty());
  CHECK(quote_821("a\r\nb@x\r\n>DATA") == "\"ab\"@xDATA");
}

TEST_CASE("deliver address: xtext both ways", "[deliver][address]") {
  CHECK(xtext_encode("\"b 2\"@dest.example") == "\"b+202\"@dest.example");
  CHECK(xtext_encode("a+b=c") == "a+2Bb+3Dc");
  CHECK(xtext_decode("a+2Bb+3Dc") == "a+b=c");
  CHECK_FALSE(xtext_decode("a+2"));
  CHECK_FALSE(xtext_decode("a+zz"));
}

TEST_CASE("deliver target: the next-hop forms", "[deliver][target]") {
  struct Case {
    const char* text;
    bool lmtp;
    std::string host;
    unsigned port;
    bool mx, is_unix;
  };
  const auto c = GENERATE(values<Case>({{"dom.example", false, "dom.example", 25, true, false},
                                        {"dom.example:2525", false, "dom.example", 2525, true, false},
                                        {"[host.example]", false, "host.example", 25, false, false},
                                        {"[127.0.0.1]:26", false, "127.0.0.1", 26, false, false},
                                        {"[ipv6:::1]:26", false, "::1", 26, false, false},
                                        {"inet:127.0.0.1:2424", true, "127.0.0.1", 2424, false, false},
                                        {"host", true, "host", 24, false, false},
                                        {"unix:private/dovecot", true, "private/dovecot", 24, false, true}}));
  CAPTURE(c.text);
  const auto targets = parse_targets(c.text, {c.lmtp, static_cast<std::uint16_t>(c.lmtp ? 24 : 25), true});
  REQUIRE(targets);
  REQUIRE(targets->size() == 1);
  CHECK(targets->front().host == c.host);
  CHECK(targets->front().port == c.port);
  CHECK(targets->front().use_mx == c.mx);
  CHECK(targets->front().is_unix == c.is_unix);
  CHECK(parse_targets("a.example, [b.example]:26", {})->size() == 2);
  for (const char* bad : {"", "[a", "a:0", "a:99999", ":25", "[a]x", "a:nosuchport"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_targets(bad, {}));
  }
}

TEST_CASE("deliver address: ORCPT values are made readable", "[deliver][address]") {
  CHECK(uxtext_encode("s\xc3\xbc@u.example") == "s\\x{FC}@u.example");
  CHECK(uxtext_encode("a b\xff") == "a\\x{20}b?");
  CHECK(decode_orcpt("utf-8;b\\x{F6}d@u.example") == "utf-8;b\xc3\xb6" "d@u.example");
  CHECK(decode_orcpt("UTF-8;\\x{1F600}") == "UTF-8;\xf0\x9f\x98\x80");
  CHECK(decode_orcpt("rfc822;a+40b@x") == "rfc822;a@b@x");
  CHECK(decode_orcpt("utf-8;\\x{D800}").empty());
  CHECK(decode_orcpt("utf-8;\\x{110000}").empty());
  CHECK(decode_orcpt("utf-8;\\x{}").empty());
  CHECK(decode_orcpt("utf-8;\\x{F6").empty());
}
