#include "core/config/main_cf.h"

#include <catch2/catch.hpp>

#include "core/config/lines.h"

using namespace millrace::config;

namespace {

std::string texts(const Findings& findings) {
  std::string out;
  for (const auto& line : findings.lines) out += (line.is_error ? "fatal: " : "warning: ") + line.to_text() + "\n";
  return out;
}

}  // namespace

TEST_CASE("config lines: continuations, comments and blanks", "[config][lines]") {
  const auto lines = logical_lines("# c\n\na = 1\n  # inside\n\n   2\n\t3\nb\r\n   \r\n c");
  REQUIRE(lines.size() == 2);
  CHECK(lines[0].number == 3);
  CHECK(lines[0].text == "a = 1   2\t3");
  CHECK(lines[1].number == 8);
  CHECK(lines[1].text == "b\r c");
  CHECK(logical_lines("  x\ny").at(0).continues_nothing);
  CHECK(logical_lines("").empty());
  CHECK(logical_lines("\n\n  \n#").empty());
}

TEST_CASE("config main.cf: the last assignment wins, with a warning", "[config][main_cf]") {
  Findings findings;
  const auto entries = parse_main_cf("a = 1\nb=x = y\na = 2\nb=x = y\n", "/etc/main.cf", findings);
  REQUIRE(entries.size() == 2);
  CHECK(entries[0].value == "2");
  CHECK(entries[0].line == 3);
  CHECK(entries[1].value == "x = y");
  CHECK(texts(findings) == "warning: /etc/main.cf, line 3: overriding earlier entry: a=1\n");
}

TEST_CASE("config main.cf: mistakes are named with their line", "[config][main_cf]") {
  Findings findings;
  CHECK(parse_main_cf(std::string_view("  lost\n= 1\nword\nname value\nz=\0x\nok = \t1 \t\n", 42), "main.cf", findings).size() == 1);
  CHECK(texts(findings) ==
        "warning: main.cf, line 1: logical line must not start with whitespace: \"  lost\"\n"
        "fatal: main.cf, line 2: missing attribute name: \"= 1\"\n"
        "fatal: main.cf, line 3: missing '=' after attribute name: \"word\"\n"
        "fatal: main.cf, line 4: missing '=' after attribute name: \"name value\"\n"
        "fatal: main.cf, line 5: a null byte: \"z=?x\"\n");
}
