#include "core/map/alias_source.h"

#include <catch2/catch.hpp>

using namespace millrace;
using map::BuildOptions;

namespace {
std::string parsed(std::string_view text, BuildOptions::Duplicates duplicates = BuildOptions::Duplicates::warn) {
  std::string out;
  BuildOptions options;
  options.duplicates = duplicates;
  options.warn = [&](const std::string& line) { out += "! " + line + "\n"; };
  for (const auto& [key, value] : map::parse_aliases(text, "a", options)) out += key + "=" + value + "\n";
  return out;
}
}  // namespace

TEST_CASE("alias source: names, quotes, values", "[map][alias]") {
  CHECK(parsed("# c\nPostmaster: root\n\"a b\": x,\n  y: z\nlist : \"|cmd a:b\"\nback\\:slash: v\n\"q:uoted\": w\n") ==
        "a b=x,  y: z\nback:slash=v\nlist=\"|cmd a:b\"\npostmaster=root\nq:uoted=w\n");
}

TEST_CASE("alias source: what is none is said", "[map][alias]") {
  CHECK(parsed("no colon\n: empty\nnothing:\na@b: c\nok: yes\n") ==
        "! a, line 1: need name:value pair\n! a, line 2: need name:value pair\n! a, line 3: need name:value pair\n"
        "! a, line 4: name must be local\nok=yes\n");
}

TEST_CASE("alias source: duplicates", "[map][alias]") {
  CHECK(parsed("x: 1\nX: 2\n") == "! a, line 2: duplicate entry: \"x\"\nx=1\n");
  CHECK(parsed("x: 1\nX: 2\n", BuildOptions::Duplicates::ignore) == "x=1\n");
  CHECK(parsed("x: 1\nX: 2\n", BuildOptions::Duplicates::replace) == "x=2\n");
}
