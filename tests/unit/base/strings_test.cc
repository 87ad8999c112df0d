#include "core/base/strings.h"

#include <catch2/catch.hpp>

using namespace millrace;

TEST_CASE("strings: split drops empty pieces", "[base][strings]") {
  CHECK(split(" a, b,,c ", ", ") == std::vector<std::string_view>{"a", "b", "c"});
  CHECK(split(" ,, ", ", ").empty());
}

TEST_CASE("strings: take_word cuts from the front", "[base][strings]") {
  std::string_view text = "  RCPT TO:<x> ";
  CHECK(take_word(text) == "RCPT");
  CHECK(take_word(text) == "TO:<x>");
  CHECK(take_word(text).empty());
}

TEST_CASE("strings: parse_number takes whole unsigned numbers only", "[base][strings]") {
  CHECK(parse_number("42") == 42u);
  CHECK(parse_number<std::uint16_t>("65535") == 65535);
  for (const char* bad : {"", "-1", "+1", "1 ", " 1", "0x1", "18446744073709551616", "1.0"}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_number(bad).has_value());
  }
  CHECK_FALSE(parse_number<std::uint16_t>("65536").has_value());
}

TEST_CASE("strings: printable keeps UTF-8 and nothing that could forge a line", "[base][strings]") {
  CHECK(printable("a\r\nb\x7f\x01") == "a??b??");
  CHECK(printable("gr\xc3\xbc\xc3\x9f") == "gr\xc3\xbc\xc3\x9f");
  CHECK(printable("\xff\xc3") == "??");
  CHECK(printable("\xed\xa0\x80") == "???");      // a surrogate
  CHECK(printable("\xf4\x90\x80\x80") == "????");  // beyond U+10FFFF
  CHECK(printable("\xc0\xaf") == "??");            // overlong
}

TEST_CASE("strings: case is ASCII only", "[base][strings]") {
  CHECK(iequals("ExAmple", "eXaMPLE"));
  CHECK_FALSE(iequals("a", "ab"));
  CHECK(iends_with("user@EXAMPLE.com", ".COM"));
  CHECK(lower("\xc3\x84") == "\xc3\x84");
}
