#include <catch2/catch.hpp>
#include <random>

#include "core/map/literals.h"
#include "core/map/regex.h"

using namespace millrace;

TEST_CASE("literal prefix: never longer than what each match begins with", "[map][pattern]") {
  struct Case { const char *pattern, *prefix; };
  const auto one = GENERATE(values<Case>({
      {"^Subject: x", "Subject: x"}, {"^Subject:.*", "Subject:"}, {"^ab*", "a"}, {"^ab?", "a"}, {"^ab+", "ab"},
      {"^ab{0}", "a"}, {"^a|b", ""}, {"^(a|b)", ""}, {"^a(b|c)", "a"}, {"^a[|]b", ""}, {"^X\\-Y\\: z", "X-Y: z"},
      {"^a\\d", "a"}, {"a", ""}, {"^", ""}, {"^a(?#(|)|b", ""}, {"^a\\Q(\\E|b", ""}, {"^a[(]|b)", ""}, {"^a[[:|]b|c:]", ""},
      {"^a[]|]b", ""}, {"^a[\\]b]c", "a"}, {"^a(?:b|c)d", "a"}, {"^a(?x)b", ""},
  }));
  CAPTURE(one.pattern);
  CHECK(map::literal_prefix(one.pattern) == one.prefix);
}

TEST_CASE("required literals: only what every match contains", "[map][pattern]") {
  struct Case {
    const char* pattern;
    std::vector<std::string> runs;
  };
  const auto one = GENERATE(values<Case>({
      {"^Subject:.*Viagra", {"subject:", "viagra"}},
      {"^Subject: buy\\.now$", {"subject: buy.now"}},
      {"colou?r", {"colo"}},
      {"ab+cd", {"ab", "cd"}},
      {"ab*cd", {"cd"}},
      {"abc{2}de", {"ab", "de"}},
      {"ab{0,1}cd", {"cd"}},
      {"ab|cd", {}},
      {"x{a|bc}de", {}},
      {"(ab|cd)ef", {"ef"}},
      {"(ab|[)|]cd)ef", {"ef"}},
      {"(?:ab)?ef(?!gh)ij", {"ef", "ij"}},
      {"(?i)ab", {}},
      {"(?x)a b", {}},
      {"(*UTF)ab", {}},
      {"[ab]cd[]ef]gh[^]ij]", {"cd", "gh"}},
      {"ab\\Qc|d\\Eef", {}},
      {"ab\\x41cd", {}},
      {"\\bfoo\\b bar\\d\\d", {"foo", " bar"}},
      {"(ab)\\1cd", {"cd"}},
      {"ab)cd", {}},
      {"(ab", {}},
      {"ab[cd", {}},
      {"ab.?cd", {"ab", "cd"}},
      {"ab+?cd", {"ab", "cd"}},
      {"ab$", {"ab"}},
  }));
  INFO(one.pattern);
  CHECK(map::required_literals(one.pattern) == one.runs);
}

// The promise against the engine: patterns and subjects made of the same few characters.
TEST_CASE("required literals: whatever matches has all their pairs", "[map][pattern]") {
  std::mt19937 random(20261121);
  const std::string pieces[] = {"a", "b", "C", "ab", "(a|b)", "[ab]", "[^c]", ".", "\\.", "a?", "b+", "c*", "(?:ab)?", "^", "$", "b{2}",
                                "\\w", "(?=a)", "(?!b)", "|", "a{0,1}", "(c)\\1", "[]a]", "+?", ".*"};
  const std::string alphabet = "aAbBcC.";
  std::size_t matches = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string pattern, subject;
    for (unsigned n = 1 + random() % 7; n > 0; --n) pattern += pieces[random() % std::size(pieces)];
    const auto regex = map::Regex::compile(pattern, map::Regex::kCaseless);
    if (!regex) continue;
    for (int each = 0; each < 4; ++each) {
      subject.clear();
      for (unsigned n = random() % 10; n > 0; --n) subject += alphabet[random() % alphabet.size()];
      if (regex->match(subject, nullptr) != map::Regex::Outcome::yes) continue;
      ++matches;
      const map::Pairs pairs(subject);
      for (const std::string& run : regex->literals()) {
        for (std::size_t i = 1; i < run.size(); ++i) {
          INFO(pattern << " in " << subject << " lacks " << run);
          REQUIRE(pairs.has(map::Pairs::place(run[i - 1], run[i])));
        }
      }
    }
  }
  CHECK(matches > 5'000);
}
