#include "core/tools/alias_source.h"

#include <catch2/catch.hpp>

using namespace millrace;

TEST_CASE("aliases: stored as postalias stores them", "[alias]") {
  std::string warnings;
  map::BuildOptions options;
  options.warn = [&](const std::string& text) { warnings += text + "\n"; };
  const auto entries = tools::parse_aliases(
      "# comment\nRoot:   a@b,   c\n  , \"|/bin/x arg, y\"\n\"quoted name\": :include:/x/y\nbad line\ndup: one\nDUP: two\n"
      "empty:\nu(comment): v (c)\nnul@dom: x\npipe: |/usr/bin/foo bar\nx: \"open\ny: [a b\nz: (c \\",
      "al", options);
  CHECK(entries == map::Entries{{"dup", "one"},
                                {"pipe", "|/usr/bin/foo bar"},
                                {"quoted name", ":include:/x/y"},
                                {"root", "a@b, c, \"|/bin/x arg, y\""},
                                {"u (comment)", "v (c)"},
                                {"x", "\"open"},
                                {"y", "[a b"},
                                {"z", "(c \\"}});
  CHECK(warnings ==
        "al, line 5: need name:value pair\nal, line 7: duplicate entry: \"dup\"\nal, line 8: need name:value pair\n"
        "al, line 10: name must be local\n");
}
