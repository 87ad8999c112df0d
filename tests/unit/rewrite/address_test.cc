#include <catch2/catch.hpp>

#include "core/rewrite/address.h"
#include "core/rewrite/domain.h"
#include "core/rewrite/own_addresses.h"
#include "core/rewrite/router.h"
#include "core/rewrite/transport_entry.h"

using namespace millrace;
using namespace millrace::rewrite;

TEST_CASE("address tokens: quotes, literals, comments, escapes", "[rewrite][address]") {
  const auto again = [](std::string_view text) { return internal_text(scan_address(text)); };
  CHECK(again("a@b.c") == "a@b.c");
  CHECK(again("\"a b\\\"c\"@d") == "a b\"c@d");
  CHECK(again("a @ [1.2.3.4]") == "a@[1.2.3.4]");
  CHECK(again("a(x(y)\\)z)@b") == "a@b");
  CHECK(again("a b@c") == "a b@c");
  CHECK(again("b\\@x@c") == "b@x@c");
  CHECK(again("\"open") == "open");
  CHECK(again("a@[open") == "a@[open]");
  CHECK(again("a\\") == "a");
  CHECK(scan_address("b\\@x@c")[0].text == "b@x");
}

TEST_CASE("address rewriting: one step each", "[rewrite][address]") {
  RewriteRules rules;
  rules.myorigin = "origin.example";
  rules.mydomain = "dom.example";
  const auto rewritten = [&](std::string_view text) {
    Tokens tokens = scan_address(text);
    rewrite_tokens(tokens, rules);
    return internal_text(tokens);
  };
  CHECK(rewritten("a") == "a@origin.example");
  CHECK(rewritten("a@b") == "a@b");
  CHECK(rewritten("a@b.example.") == "a@b.example");
  CHECK(rewritten("a@b..") == "a@b..");
  CHECK(rewritten("a@.") == "a@.");
  CHECK(rewritten("@x,@y:a@b") == "a@b");
  CHECK(rewritten("@x:") == "@x:");
  CHECK(rewritten("a%b%c") == "a%b@c");
  CHECK(rewritten("x!y!a") == "y!a@x");
  CHECK(rewritten("x!a@b") == "x!a@b");
  CHECK(rewritten("@") == "");
  CHECK(rewritten("\"\"") == "");
  CHECK(rewritten("\"a%b\"") == "a%b@origin.example");
  rules.append_dot_mydomain = true;
  CHECK(rewritten("a@b") == "a@b.dom.example");
  CHECK(rewritten("a@b.") == "a@b");
  CHECK(rewritten("a@[1.2.3.4]") == "a@[1.2.3.4]");
  CHECK(rewritten("a@") == "a@");
  rules.swap_bangpath = rules.allow_percent_hack = rules.append_at_myorigin = false;
  CHECK(rewritten("a%b") == "a%b");
  CHECK(rewritten("a!b") == "a!b");
}

TEST_CASE("domains: valid and not", "[rewrite][address]") {
  for (const char* domain : {"a", "a.b", "a-b.c", "sen_der.example", "1a.2", "[1.2.3.4]", "[IPv6:2001:db8::1]", "[ipv6:::1]",
                             "b\xc3\xbc" "cher.example"}) {
    CAPTURE(domain);
    CHECK(is_valid_domain(domain));
  }
  for (const std::string& domain :
       {std::string(""), std::string("a."), std::string(".a"), std::string("a..b"), std::string("-a"), std::string("a-"),
        std::string("a.-b"), std::string("a-.b"), std::string("1.2.3"), std::string("1.2.3.4"), std::string("[1.2.3.555]"),
        std::string("[2001:db8::1]"), std::string("[IPv6:1.2.3.4]"), std::string("[1.2.3.4"), std::string("a b"), std::string("*.a"),
        std::string("a:25"), std::string(64, 'a') + ".b", std::string("\xff.b")}) {
    CAPTURE(domain);
    CHECK_FALSE(is_valid_domain(domain));
  }
  std::string longest;
  while (longest.size() < 250) longest += "abcd.";
  CHECK(is_valid_domain(longest + "efghi"));
  CHECK_FALSE(is_valid_domain(longest + "efghij"));
}

TEST_CASE("transport results: transport(5)", "[rewrite][transport]") {
  const auto after = [](std::string_view result) {
    Destination destination{"smtp", "relay.example"};
    apply_table_result(result, "dom.example", destination);
    return destination.transport + "|" + destination.nexthop;
  };
  CHECK(after(":") == "smtp|relay.example");
  CHECK(after("") == "smtp|relay.example");
  CHECK(after(":[h]:25") == "smtp|[h]:25");
  CHECK(after("slow:") == "slow|dom.example");
  CHECK(after("slow") == "slow|dom.example");
  CHECK(after("slow:[h]") == "slow|[h]");
  CHECK(after("error:") == "error|Address is undeliverable");
  CHECK(after("retry:4.3.2 later: please") == "retry|4.3.2 later: please");
  Destination destination{"", "dom.example"};
  apply_parameter("smtp:[127.0.0.1]:2525", destination);
  CHECK(destination == Destination{"smtp", "[127.0.0.1]:2525"});
  apply_parameter("local", destination);
  CHECK(destination == Destination{"local", "[127.0.0.1]:2525"});
}

TEST_CASE("own addresses: lists, protocols and literals", "[rewrite][own]") {
  auto own = OwnAddresses::make("127.0.0.1, 192.0.2.1 [2001:db8::1]", "198.51.100.7", "all");
  REQUIRE(own);
  CHECK(own->contains_literal("[192.0.2.1]"));
  CHECK(own->contains_literal("[198.51.100.7]"));
  CHECK(own->contains_literal("[IPv6:2001:DB8:0::1]"));
  CHECK_FALSE(own->contains_literal("192.0.2.1"));
  CHECK_FALSE(own->contains_literal("[192.0.2.2]"));
  CHECK_FALSE(OwnAddresses::make("loopback-only", "", "ipv4")->contains_literal("[IPv6:::1]"));
  CHECK(OwnAddresses::make("all", "", "all")->contains_literal("[127.0.0.1]"));
}

TEST_CASE("quoting: the local part alone", "[rewrite][address]") {
  CHECK(quote_local("a b@c d") == "\"a b\"@c d");
  CHECK(unquote_local("\"a b\"@c") == "a b@c");
}
