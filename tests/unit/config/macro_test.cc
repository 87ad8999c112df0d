#include "core/config/macro.h"

#include <catch2/catch.hpp>

using namespace millrace;
using namespace millrace::config;

namespace {

std::optional<std::string> lookup(std::string_view name) {
  if (name == "a") return "A";
  if (name == "empty") return "";
  if (name == "ref") return "<$a>";
  if (name == "loop") return "$loop";
  if (name == "five") return "5";
  if (name == "ten") return "10";
  if (name == "level") return "3.6";
  if (name == "wide") return "$wide2$wide2$wide2$wide2$wide2$wide2$wide2$wide2$wide2$wide2";
  if (name == "wide2") return "$wide3$wide3$wide3$wide3$wide3$wide3$wide3$wide3$wide3$wide3";
  if (name == "wide3") return "$wide4$wide4$wide4$wide4$wide4$wide4$wide4$wide4$wide4$wide4";
  if (name == "wide4") return "$wide5$wide5$wide5$wide5$wide5$wide5$wide5$wide5$wide5$wide5";
  if (name == "wide5") return "$nothing$nothing$nothing$nothing$nothing$nothing$nothing$nothing$nothing$nothing$nothing";
  return {};
}

std::string expand(std::string_view text, Recurse recurse = Recurse::yes) {
  const auto out = expand_macros(text, lookup, recurse);
  return out ? *out : "error";
}

}  // namespace

TEST_CASE("config macro: every form of postconf(5) expands", "[config][macro]") {
  struct Case {
    const char *text, *want;
  };
  const auto [text, want] = GENERATE(values<Case>({
      {"", ""},
      {"plain", "plain"},
      {"$a ${a} $(a)", "A A A"},
      {"$a-b${ a }c", "A-bAc"},
      {"$$a $$$a", "$a $A"},
      {"$undefined!", "!"},
      {"$ref", "<A>"},
      {"${a?yes}${empty?no}${undefined?no}", "yes"},
      {"${a:no}${empty:e}${undefined:u}", "eu"},
      {"${a?{x}:{y}}${empty?{x}:{y}}", "xy"},
      {"${a ? {x} : {y}}", "x"},
      {"${a? x }", " x "},
      {"${a??b:{c}d}", "?b:{c}d"},
      {"${a?$ref}", "<A>"},
      {"${empty?$(}", "error"},
      {"${{$a} == {A} ? {same} : {other}}", "same"},
      {"${{$a} != {A} ? {same} : {other}}", "other"},
      {"${{$five}<{$ten}?{less}:{more}}", "less"},
      {"${{5x} < {10x}}", ""},
      {"${{$five} <= {5}}", "true"},
      {"${{$level} <level {3.10} ? {old} : {new}}", "old"},
      {"${{$level} >=level {3.6.0}}", "true"},
      {"${{3} ==level {3.0}}", "true"},
      {"${{a{b}} == {a{b}}}", "true"},
      {"${{x} == {y} : no}", " no"},
      {"$", "error"},
      {"$ a", "error"},
      {"${}", "error"},
      {"${a", "error"},
      {"$(a}", "error"},
      {"${a b}", "error"},
      {"${a?{x}y}", "error"},
      {"${a?{x}:{y}z}", "error"},
      {"${a?{x}", "error"},
      {"${{x} = {y}}", "error"},
      {"${{x} =={y}z}", "error"},
      {"${{x} == y}", "error"},
      {"${{x} <what {y}}", "error"},
      {"${{x} <level {3}}", "error"},
      {"${{99999999999999999999} == {1}}", "error"},
  }));
  CAPTURE(text);
  // Postfix examines only the branch it takes.
  if (std::string(text) == "${empty?$(}") {
    CHECK(expand(text) == "");
  } else {
    CHECK(expand(text) == want);
  }
}

TEST_CASE("config macro: values are expanded only when asked", "[config][macro]") {
  CHECK(expand("$ref", Recurse::no) == "<$a>");
  CHECK(expand("${ref?$ref}", Recurse::no) == "<$a>");
}

TEST_CASE("config macro: loops and floods end", "[config][macro]") {
  CHECK(expand("$loop") == "error");
  CHECK(expand("${{$loop} == {x}}") == "error");
  CHECK(expand("$wide") == "error");
  std::string nested;
  for (int i = 0; i < 200; ++i) nested += "${a?{";
  for (int i = 0; i < 200; ++i) nested += "}}";
  CHECK(expand(nested) == "error");
}

TEST_CASE("config macro: all names are found, in every branch", "[config][macro]") {
  std::string seen;
  for_each_macro("$a ${b?$c} ${d?{$e}:{$f}} ${{$g} == {$h} ? {$i} : {$j}} $$k", [&](std::string_view name) {
    seen += name;
    seen += ' ';
  });
  CHECK(seen == "a b c d e f g h i j ");
}

TEST_CASE("config macro: compatibility levels", "[config][macro]") {
  CHECK(*parse_level("2") < *parse_level("3.6"));
  CHECK(*parse_level("3.6") < *parse_level("3.10"));
  CHECK(*parse_level("3.6") == *parse_level("3.6.0"));
  for (const char* bad : {"", "x", "3.", ".1", "3.6.1.1", "-1", "3.1024", "3 "}) {
    CAPTURE(bad);
    CHECK_FALSE(parse_level(bad));
  }
}
