#include <catch2/catch.hpp>

#include "core/map/network.h"
#include "core/map/table.h"
#include "core/map/text.h"

using namespace millrace;

TEST_CASE("logical lines: continuation, comments, numbers", "[map][text]") {
  map::LineReader reader("# c\na 1\n  b\n# c\n\n   c\n#x\n \nd 2\n\tlast");
  std::string seen;
  while (reader.next()) seen += std::to_string(reader.number()) + ":" + reader.line() + "|";
  CHECK(seen == "2:a 1  b   c|9:d 2\tlast|");
  map::LineReader nul(std::string_view("a\0b c\nd e", 9));
  REQUIRE(nul.next());
  CHECK(nul.line() == "a");
  map::LineReader empty("");
  CHECK_FALSE(empty.next());
}

TEST_CASE("key value lines: quotes and escapes as postmap reads them", "[map][text]") {
  const auto both = [](std::string_view line) {
    const auto pair = map::split_key_value(line);
    return pair ? std::string(pair->key) + "=" + std::string(pair->value) : "(" + pair.error().context + ")";
  };
  CHECK(both("\"a b\" one  ") == "\"a b\"=one");
  CHECK(both("esc\\ aped two") == "esc\\ aped=two");
  CHECK(both("bs\\\" five") == "bs\\\"=five");
  CHECK(both("\"q\\\"q w\" six") == "\"q\\\"q w\"=six");
  CHECK(both("pre\"mid dle\"post three") == "pre\"mid dle\"post=three");
  CHECK(both("\"unbal one") == "(unbalanced '\"' in '\"unbal one' -- ignoring this line)");
  CHECK(both("four") == "(expected format: key whitespace value -- ignoring this line)");
  CHECK(both("four \t") == "(expected format: key whitespace value -- ignoring this line)");
  CHECK(both("a\\") == "(expected format: key whitespace value -- ignoring this line)");
  CHECK(map::split_key_value("alias: x")->looks_like_alias);
}

TEST_CASE("lists: groups stay whole", "[map][text]") {
  CHECK(map::split_list("a, b\tc\n,{d, e} f{g h}i, {x") ==
        std::vector<std::string>{"a", "b", "c", "{d, e}", "f{g h}i", "{x"});
  CHECK(map::split_list("pcre:{{/a b/ c}, {/d/ e}}, hash:x") ==
        std::vector<std::string>{"pcre:{{/a b/ c}, {/d/ e}}", "hash:x"});
  CHECK(map::split_list(" ,, ").empty());
  CHECK(map::inline_rules("{{ /a/  b }, {c}}").value() == std::vector<std::string>{"/a/  b", "c"});
  CHECK(map::inline_rules("{/a/ b}").error().context == "no '{' at start of text in \"/a/\"");
  CHECK(map::inline_rules("{{a}").error().context == "missing '}' in \"{{a}\"");
  CHECK(map::strip_braces("{a}b").error().context == "syntax error after '}' in \"{a}b\"");
  CHECK(map::looks_like_table("hash:/x"));
  CHECK_FALSE(map::looks_like_table("[::1]"));
  CHECK_FALSE(map::looks_like_table("check_client_access"));
}

TEST_CASE("addresses: quoting goes round", "[map][text]") {
  CHECK(map::quote_address("a@b") == "a@b");
  CHECK(map::quote_address("") == "");
  CHECK(map::quote_address("a b@c") == "\"a b\"@c");
  CHECK(map::quote_address("a..b@c") == "\"a..b\"@c");
  CHECK(map::quote_address("a@b@c") == "\"a@b\"@c");
  CHECK(map::quote_address("a\"\\b@c") == "\"a\\\"\\\\b\"@c");
  CHECK(map::quote_address("@c") == "\"\"@c");
  CHECK(map::quote_address("\xc3\xa9@c") == "\xc3\xa9@c");
  CHECK(map::unquote_address("\"a b\"@c") == "a b@c");
  CHECK(map::unquote_address("\"a\\\"b\\@x\"@c\"d") == "a\"b@x@c\"d");
  for (const char* address : {"a@b", "a b@c", "..@c", "a\"@c", "@c", "x@y@z", "\\@a"})
    CHECK(map::unquote_address(map::quote_address(address)) == address);
}

TEST_CASE("networks: Postfix's spelling rules", "[map][text]") {
  const auto why = [](std::string_view text) {
    const auto network = map::parse_network(text);
    return network ? map::to_text(network->base) + "/" + std::to_string(network->prefix) : network.error().context;
  };
  CHECK(why("10.0.0.0/8") == "10.0.0.0/8");
  CHECK(why("[10.8.0.0/16]") == "10.8.0.0/16");
  CHECK(why("[10.9.0.0/16]x") == "garbage after \"[10.9.0.0/16]\"");
  CHECK(why("[10.9.0.0") == "missing ']' character after \"[10.9.0.0\"");
  CHECK(why("[10.9.0.0/16]/16") == "bad network value in \"10.9.0.0/16/16\"");
  CHECK(why("[2001:DB8::]/32") == "2001:db8::/32");
  CHECK(why("[::1]") == "::1/128");
  CHECK(why("1.2.3.6/032") == "1.2.3.6/32");
  CHECK(why("10.0.0.0/33") == "bad mask length in \"10.0.0.0/33\"");
  CHECK(why("10.0.0.1/8") ==
        "non-null host address bits in \"10.0.0.1/8\", perhaps you should use \"10.0.0.0/8\" instead");
  CHECK(why("01.2.3.5") == "bad address pattern: \"01.2.3.5\"");
  CHECK(why("1.2.3.4/") == "bad mask value in \"1.2.3.4/\"");
  CHECK(why("0/0") == "bad network value in \"0/0\"");
  CHECK(why("::/0") == "::/0");
}
