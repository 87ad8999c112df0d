#include "core/milterd/events.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::milterd;
using namespace std::string_literals;

TEST_CASE("milterd events: who connected", "[milterd][events]") {
  const std::string packet = "mx.example\0004\x12\x34""192.0.2.1\0"s;
  const auto four = parse_connect(packet);
  REQUIRE(four);
  CHECK(four->host == "mx.example");
  CHECK(four->family == '4');
  CHECK(four->port == 0x1234);
  CHECK(four->address == "192.0.2.1");
  CHECK(parse_connect("h\0006\0\x19IPv6:2001:db8::1\0"s)->address == "2001:db8::1");
  CHECK(parse_connect("h\0L\0\0/run/x\0"s)->family == 'L');
  CHECK(parse_connect("unknown\0U"s)->family == 'U');
  for (const std::string& bad : {""s, "h"s, "h\0"s, "h\0004"s, "h\0004\0"s, "h\0004\0\x19"s, "h\0004\0\x19""1.2.3.4"s,
                                 "h\0004\0\x19""1.2.3.4\0more"s, "h\0X\0\x19""1\0"s}) {
    CHECK_FALSE(parse_connect(bad));
  }
}

TEST_CASE("milterd events: texts and macros", "[milterd][events]") {
  CHECK(parse_texts("<a@b>\0SIZE=1\0"s, 10)->size() == 2);
  CHECK(parse_texts("", 10)->empty());
  CHECK_FALSE(parse_texts("<a@b>"s, 10));
  CHECK_FALSE(parse_texts("a\0b\0c\0"s, 2));
  const auto macros = parse_macros("i\0ABC\0{auth_type}\0PLAIN\0empty\0\0"s);
  REQUIRE(macros);
  CHECK(macros->at("i") == "ABC");
  CHECK(macros->at("{auth_type}") == "PLAIN");
  CHECK(macros->at("empty").empty());
  CHECK_FALSE(parse_macros("i\0"s));
  CHECK_FALSE(parse_macros("i\0x"s));
}

TEST_CASE("milterd events: a header field is one field", "[milterd][events]") {
  CHECK(parse_header("Subject\0hello\0"s, false)->text() == "Subject: hello");
  CHECK(parse_header("Subject\0  hello\0"s, true)->text() == "Subject:  hello");
  CHECK(parse_header("Subject\0\0"s, true)->text() == "Subject:");
  CHECK(parse_header("A\0x\n y\r\n\tz\0"s, false)->text() == "A: x\r\n y\r\n\tz");
  // What would begin another field, or end the section, does not.
  CHECK(parse_header("A\0x\nBcc: y\0"s, false)->text() == "A: x\r\n\tBcc: y");
  CHECK(parse_header("A\0x\n\n y\0"s, false)->text() == "A: x\r\n\t\r\n y");
  CHECK(parse_header("A\0x\n\0"s, false)->text() == "A: x\r\n\t");
  CHECK(parse_header("A\0x\ry\0"s, false)->text() == "A: xy");
  for (const std::string& bad : {""s, "A"s, "A\0x"s, "\0x\0"s, "A B\0x\0"s, "A:\0x\0"s, "A\r\0x\0"s, "A\0x\0y\0"s}) {
    CHECK_FALSE(parse_header(bad, false));
  }
}
