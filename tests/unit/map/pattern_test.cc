#include <catch2/catch.hpp>

#include "core/map/pattern.h"

using namespace millrace;

namespace {
struct Table {
  map::PatternRules rules;
  std::string warnings;
  Table(map::PatternDialect dialect, const std::vector<std::string>& lines) : rules(dialect) {
    const map::Warn warn = [&](const std::string& text) { warnings += text + "\n"; };
    int number = 0;
    for (const std::string& line : lines) rules.add(line, ++number, warn);
    rules.finish(warn);
  }
  std::string find(std::string_view key) const {
    const auto value = rules.find(key);
    return !value ? "(error)" : *value ? **value : "(none)";
  }
};
Table pcre(const std::vector<std::string>& lines) { return Table(map::PatternDialect::pcre, lines); }
Table regexp(const std::vector<std::string>& lines) { return Table(map::PatternDialect::regexp, lines); }
}  // namespace

TEST_CASE("pattern rules: what is wrong with a line is said in Postfix's words", "[map][pattern]") {
  struct Case { const char *line, *warnings; };
  const auto one = GENERATE(values<Case>({
      {"/a/ $x", "line 1: non-numeric replacement index \"x\"\nline 1: bad replacement syntax: skipping this rule\n"},
      {"/a/ $1x", "line 1: non-numeric replacement index \"1x\"\nline 1: bad replacement syntax: skipping this rule\n"},
      {"/a/ x$", "line 1: empty macro name: \"x$\"\nline 1: bad replacement syntax: skipping this rule\n"},
      {"/(a)/ $0", "line 1: out of range replacement index \"0\"\nline 1: bad replacement syntax: skipping this rule\n"},
      {"/(a)/ $2", "line 1: out of range replacement index \"2\": skipping this rule\n"},
      {"/a/q x", "line 1: unknown regexp option \"q\": skipping this rule\n"},
      {"!/b/ $1", "line 1: $number found in negative match replacement text: skipping this rule\n"},
      {"/a x", "line 1: no closing regexp delimiter \"/\": skipping this rule\n"},
      {"/a/", "line 1: no replacement text: using empty string\n"},
      {"m^a^ x", "line 1: ignoring unrecognized request\n"},
      {"endif", "line 1: ignoring ENDIF without matching IF\n"},
      {"if /a/", "line 1: IF has no matching ENDIF\n"},
      {"if /a/ b", "line 1: ignoring extra text after IF statement: \"b\"\nline 1: IF has no matching ENDIF\n"},
      {"!", "line 1: no regexp: skipping this rule\n"},
  }));
  CAPTURE(one.line);
  CHECK(pcre({one.line}).warnings == one.warnings);
}

TEST_CASE("pattern rules: results", "[map][pattern]") {
  CHECK(pcre({"/^(a)$/ ${1}x"}).find("A") == "Ax");
  CHECK(pcre({"!/b/ $$1"}).find("a") == "$1");
  CHECK(pcre({"!!/a/ twice"}).find("a") == "twice");
  CHECK(pcre({"! /b/ blank"}).find("a") == "blank");
  CHECK(pcre({"/(a)/ {$(1)}"}).find("a") == "{a}");
  CHECK(pcre({"/a$/ x"}).find("a\n") == "x");
  CHECK(pcre({"/a$/E x"}).find("a\n") == "(none)");
  CHECK(pcre({"_a_ x"}).find("a") == "x");
  CHECK(pcre({"IF /a/", "/a/ x", "ENDIF", "/b/ y"}).find("b") == "y");
  CHECK(pcre({"if/a/", "if !/b/", "/./ inner", "endif", "endif", "/./ outer"}).find("ab") == "outer");
  CHECK(regexp({"/^(a)/!/b/ x$1"}).find("ac") == "xa");
  CHECK(regexp({"/^(a)/!/b/ x$1"}).find("ab") == "(none)");
  CHECK(regexp({"/(a)|b/ [$1]"}).find("b") == "[]");
  CHECK(regexp({"/a$/ x"}).find("a\n") == "(none)");
  CHECK(regexp({"/^.$/ x"}).find("\xc3\xa9") == "(none)");
}

TEST_CASE("pattern rules: a pattern that hits its limit is an error, not a miss", "[map][pattern]") {
  const Table table = pcre({"/^(a+)+$/ x"});
  CHECK(table.warnings.empty());
  CHECK(table.find(std::string(40, 'a') + "!") == "(error)");
  CHECK(table.find("aaaa") == "x");
  const auto error = table.rules.find(std::string(40, 'a') + "!");
  REQUIRE_FALSE(error);
  CHECK(error.error().code == Errc::temporary);
}

TEST_CASE("pattern rules: long subjects do not use the caller's stack", "[map][pattern]") {
  const Table table = pcre({"/^Subject: ((.|\\n)*)x$/ found"});
  CHECK(table.find("Subject: " + std::string(100000, 'b') + "x") != "(none)");
}
