// What Postfix 3.7 answers: tables, keys and values recorded from its postmap -q (the scenarios map-hash, map-cidr,
// map-pcre and map-regexp of the differential suite).
#include <catch2/catch.hpp>

#include "core/map/table.h"
#include "tests/support/temporary_directory.h"

using namespace millrace;

namespace {
struct Source { const char *name, *text; };
struct Case { const char *table, *key, *value; };   // nullptr: not found; "(error)"

const Source kSources[] = {
    {"t",
     "# comment\n"
     "one        value one\n"
     "Two        Value Two\n"
     "   continued here\n"
     "three\ttab separated   with  spaces\n"
     "\"quoted key\"   spaced\n"
     "user@dest.example   first\n"
     "user@dest.example   duplicate\n"
     "four\n"
     " # indented comment\n"
     "five   a \\\n"
     "b\n"
     "@dest.example catch\n"},
    {"c",
     "# order decides\n"
     "192.0.2.1           host\n"
     "192.0.2.0/28        small\n"
     "!192.0.2.0/24       outside\n"
     "192.0.2.128/25      upper   half\n"
     "192.0.2.0/24        rest\n"},
    {"d",
     "if 10.0.0.0/8\n"
     "10.1.0.0/16   ten-one\n"
     "!10.2.0.0/16  not ten-two\n"
     "endif\n"
     "if !10.0.0.0/8\n"
     "2001:db8::/32       doc\n"
     "[2001:db8:1::]/48   never\n"
     "2001:DB9::1         single\n"
     "::ffff:0.0.0.0/96   mapped\n"
     "192.0.2.5/24        bad host bits\n"
     "300.1.1.1           bad\n"
     "203.0.113.0/24\n"
     "0.0.0.0/0           any four\n"
     "endif\n"
     "10.2.3.4            here\n"},
    {"p",
     "/^exact$/            plain\n"
     "/^CaseSensitive$/i   flag turned off sense\n"
     "/^folded$/           default ignores case\n"
     "/^(\\w+)@(\\w+)\\.example$/  $2 got $1\n"
     "/^brace(\\d)(\\d)$/    ${1}x$(2)\n"
     "/^cost$/             $$9\n"
     "!/^not/              other\n"
     "/^not-(a)?(b)?$/     [$1][$2]\n"
     "if /^not/\n"
     "/-c$/                in block\n"
     "/-d$/x               extended flag\n"
     "!/-e$/               negated in block\n"
     "endif\n"
     "!/never/             last\n"},
    {"q",
     "|^/path/(.*)|        path $1\n"
     "if !/^skip/\n"
     "m^mail\n"
     "endif\n"
     "/^a.c$/s             dotall\n"
     "/^l1$/m              multi\n"
     "/foo\\/bar/           slash\n"
     "/(unclosed/          bad\n"
     "/^ok$/               still works\n"
     "/x{2,3}$/A           anchored\n"
     "/greedy(.*)end/U     <$1>\n"},
    {"r",
     "/^exact$/           plain\n"
     "/^Case$/i           sensitive\n"
     "/^([^@]+)@dest\\.example$/   user $1\n"
     "/^b(x)?(y)?z$/      [$1][${2}]\n"
     "!/[aeiou]/          no vowels\n"
     "if /^block/\n"
     "!/-out$/            inside\n"
     "/-out$/             out\n"
     "endif\n"
     "if !/^block/\n"
     "/[0-9]+$/           number\n"
     "endif\n"
     "/a|b/               letter\n"
     "/(bad/              broken\n"
     "/^q/x               basic syntax\n"
     "/end$/m             multi\n"},
};

const Case kCases[] = {
    {"hash:t", "one", "value one"},
    {"hash:t", "two", "Value Two   continued here"},
    {"hash:t", "TWO", "Value Two   continued here"},
    {"hash:t", "three", "tab separated   with  spaces"},
    {"hash:t", "quoted key", nullptr},
    {"hash:t", "\"quoted key\"", "spaced"},
    {"hash:t", "user@dest.example", "first"},
    {"hash:t", "USER@dest.example", "first"},
    {"hash:t", "four", nullptr},
    {"hash:t", "five", "a \\"},
    {"hash:t", "@dest.example", "catch"},
    {"hash:t", "x@dest.example", nullptr},
    {"hash:t", "none", nullptr},
    {"hash:t", "#", nullptr},
    {"hash:t", " one", nullptr},
    {"texthash:t", "one", "value one"},
    {"texthash:t", "two", "Value Two   continued here"},
    {"texthash:t", "TWO", "Value Two   continued here"},
    {"texthash:t", "three", "tab separated   with  spaces"},
    {"texthash:t", "user@dest.example", "first"},
    {"texthash:t", "four", nullptr},
    {"texthash:t", "five", "a \\"},
    {"texthash:t", "none", nullptr},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "a", "1"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "A", "1"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "b", "two words"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "c", "3"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "d", "4"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "D", "4"},
    {"inline:{ a=1, {b = two words}, { c=3 }, D=4 }", "e", nullptr},
    {"inline:{ a=1, d = 4 }", "a", "(error)"},
    {"static:fixed", "a", "fixed"},
    {"static:fixed", "anything at all", "fixed"},
    {"static:{ two words }", "x", "two words"},
    {"fail:", "x", "(error)"},
    {"cidr:c", "192.0.2.1", "host"},
    {"cidr:c", "192.0.2.2", "small"},
    {"cidr:c", "192.0.2.16", "rest"},
    {"cidr:c", "192.0.2.200", "upper   half"},
    {"cidr:c", "192.0.3.1", "outside"},
    {"cidr:c", "not-an-address", nullptr},
    {"cidr:c", "192.0.2", nullptr},
    {"cidr:c", "2001:db8::1", nullptr},
    {"cidr:d", "10.1.2.3", "ten-one"},
    {"cidr:d", "10.3.0.1", "not ten-two"},
    {"cidr:d", "10.2.3.4", "here"},
    {"cidr:d", "10.2.3.5", nullptr},
    {"cidr:d", "2001:db8:1::5", nullptr},
    {"cidr:d", "2001:db9::1", nullptr},
    {"cidr:d", "2001:db9::2", nullptr},
    {"cidr:d", "::ffff:1.2.3.4", nullptr},
    {"cidr:d", "192.0.2.5", "any four"},
    {"cidr:d", "203.0.113.1", "any four"},
    {"cidr:d", "8.8.8.8", "any four"},
    {"cidr:{{192.0.2.0/24 in braces}, {!192.0.2.0/23 negative}}", "192.0.2.7", "in braces"},
    {"cidr:{{192.0.2.0/24 in braces}, {!192.0.2.0/23 negative}}", "192.0.3.7", nullptr},
    {"cidr:{{192.0.2.0/24 in braces}, {!192.0.2.0/23 negative}}", "192.0.9.9", "negative"},
    {"pcre:p", "exact", "plain"},
    {"pcre:p", "EXACT", "plain"},
    {"pcre:p", "CaseSensitive", "flag turned off sense"},
    {"pcre:p", "casesensitive", "other"},
    {"pcre:p", "FOLDED", "default ignores case"},
    {"pcre:p", "joe@dest.example", "dest got joe"},
    {"pcre:p", "brace12", "1x2"},
    {"pcre:p", "cost", "$9"},
    {"pcre:p", "not-a", "[a][]"},
    {"pcre:p", "not-b", "[][b]"},
    {"pcre:p", "not-ab", "[a][b]"},
    {"pcre:p", "not-c", "in block"},
    {"pcre:p", "not-d", "extended flag"},
    {"pcre:p", "not-e", "last"},
    {"pcre:p", "not", "negated in block"},
    {"pcre:p", "zzz", "other"},
    {"pcre:q", "/path/x/y", "path x/y"},
    {"pcre:q", "abc", "dotall"},
    {"pcre:q", "a\nc", nullptr},
    {"pcre:q", "l1", "multi"},
    {"pcre:q", "foo/bar", "slash"},
    {"pcre:q", "ok", "still works"},
    {"pcre:q", "xxx", "anchored"},
    {"pcre:q", "axxx", nullptr},
    {"pcre:q", "greedy1end2end", "<1>"},
    {"pcre:q", "mail", nullptr},
    {"pcre:{{/^in(.*)/ inline $1}, {!/z/ no z}}", "inside", "inline side"},
    {"pcre:{{/^in(.*)/ inline $1}, {!/z/ no z}}", "abc", "no z"},
    {"pcre:{{/^in(.*)/ inline $1}, {!/z/ no z}}", "z", nullptr},
    {"regexp:r", "exact", "plain"},
    {"regexp:r", "EXACT", "plain"},
    {"regexp:r", "Case", "sensitive"},
    {"regexp:r", "case", "letter"},
    {"regexp:r", "joe@dest.example", "user joe"},
    {"regexp:r", "bxyz", "[x][y]"},
    {"regexp:r", "byz", "[][y]"},
    {"regexp:r", "bz", "[][]"},
    {"regexp:r", "xyz", "no vowels"},
    {"regexp:r", "block", "inside"},
    {"regexp:r", "block-out", "out"},
    {"regexp:r", "ooo12", "number"},
    {"regexp:r", "a", "letter"},
    {"regexp:r", "quit", "basic syntax"},
    {"regexp:r", "the end", "multi"},
    {"regexp:r", "o", nullptr},
};
}  // namespace

TEST_CASE("tables: answer as Postfix does", "[map][golden]") {
  const test::TemporaryDirectory directory;
  for (const Source& source : kSources) directory.write(source.name, source.text);
  map::TableSet tables({directory.path(), {}});
  for (const Case& one : kCases) {
    CAPTURE(one.table, one.key);
    const auto table = tables.open(one.table);
    if (!table) {
      CHECK(std::string(one.value ? one.value : "") == "(error)");
      continue;
    }
    const auto value = (*table)->find(one.key);
    if (!value) {
      CHECK(std::string(one.value ? one.value : "") == "(error)");
    } else if (!*value) {
      CHECK(one.value == nullptr);
    } else {
      CHECK(**value == (one.value ? one.value : "(not found)"));
    }
  }
}
