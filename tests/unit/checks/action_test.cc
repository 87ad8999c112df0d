#include "core/checks/action.h"

#include <catch2/catch.hpp>

using namespace millrace::checks;
using Kind = Decision::Kind;

TEST_CASE("checks action: verbs in any case, with their text", "[checks]") {
  CHECK(parse_action("warn  look here ").kind == Kind::warn);
  CHECK(parse_action("warn  look here ").text == "look here");
  CHECK(parse_action("OK").kind == Kind::dunno);
  CHECK(parse_action("REPLACE X: y").text == "X: y");
}

TEST_CASE("checks action: REJECT takes its codes from the text", "[checks]") {
  Decision plain = parse_action("REJECT");
  CHECK(plain.code == 550);
  CHECK(plain.enhanced == "5.7.1");
  CHECK(plain.text == "message content rejected");
  Decision temporary = parse_action("REJECT 4.2.0 later");
  CHECK(temporary.code == 451);
  CHECK(temporary.enhanced == "4.2.0");
  CHECK(temporary.text == "later");
  CHECK(parse_action("REJECT 5.7.1.1 x").text == "5.7.1.1 x");
}

TEST_CASE("checks action: what lacks its argument, or is unknown, is bad", "[checks]") {
  for (const char* text : {"", "NOSUCH", "REPLACE", "PREPEND ", "FILTER smtp", "REDIRECT me", "BCC x"}) {
    CAPTURE(text);
    CHECK(parse_action(text).kind == Kind::bad);
  }
}
