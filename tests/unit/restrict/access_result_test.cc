// access(5) results as values.
#include "core/restrict/access_result.h"

#include <catch2/catch.hpp>

using namespace millrace::restrict;

TEST_CASE("access result: every form", "[restrict]") {
  struct Case {
    const char* value;
    AccessKind kind;
    int code;
    const char *dsn, *text;
  };
  const Case c = GENERATE(values<Case>({
      {"OK", AccessKind::ok, 0, "", ""},
      {"relay", AccessKind::ok, 0, "", ""},
      {"1234567", AccessKind::ok, 0, "", ""},
      {"550", AccessKind::ok, 0, "", ""},
      {"DUNNO whatever", AccessKind::dunno, 0, "", "whatever"},
      {"REJECT", AccessKind::reject, 0, "", ""},
      {"reject 4.2.1 wrong class", AccessKind::reject, 0, "4.2.1", "wrong class"},
      {"REJECT  no dsn 5.7.1", AccessKind::reject, 0, "", "no dsn 5.7.1"},
      {"550 plain text", AccessKind::code, 550, "", "plain text"},
      {"450 4.2.2 full", AccessKind::code, 450, "4.2.2", "full"},
      {"421 4.7.0", AccessKind::code, 421, "4.7.0", ""},
      {"550 5.1.1000 x", AccessKind::code, 550, "", "5.1.1000 x"},
      {"550 5.7.1x", AccessKind::code, 550, "", "5.7.1x"},
      {"299 odd", AccessKind::restrictions, 0, "", "299 odd"},
      {"600 odd", AccessKind::restrictions, 0, "", "600 odd"},
      {"5500 odd", AccessKind::restrictions, 0, "", "5500 odd"},
      {"DEFER_IF_PERMIT 4.7.1 greylisted", AccessKind::defer_if_permit, 0, "4.7.1", "greylisted"},
      {"PREPEND X: y", AccessKind::prepend, 0, "", "X: y"},
      {"staff, reject", AccessKind::restrictions, 0, "", "staff, reject"},
      {"permit", AccessKind::restrictions, 0, "", "permit"},
      {"  ", AccessKind::empty, 0, "", ""},
  }));
  CAPTURE(c.value);
  const AccessResult result = parse_access_result(c.value);
  CHECK(result.kind == c.kind);
  CHECK(result.code == c.code);
  CHECK(result.dsn == c.dsn);
  CHECK(result.text == c.text);
}
