// pcre and regexp rules; the first line is the key.  The prefix a pattern is told apart by must never hide a match.
#include <cstdint>

#include "core/base/assert.h"
#include "core/map/pattern.h"
#include "core/map/text.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0 || size > 4096) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto dialect = data[0] % 2 == 0 ? map::PatternDialect::pcre : map::PatternDialect::regexp;
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view key = text.substr(0, end);
  map::PatternRules rules(dialect);
  const map::Warn warn = [](const std::string&) {};
  map::LineReader reader(text.substr(end));
  std::string first_line;
  while (reader.next()) {
    if (first_line.empty()) first_line = reader.line();
    rules.add(reader.line(), reader.number(), warn);
  }
  rules.finish(warn);
  (void)rules.find(key);

  // The same pattern not beginning with "^" has no prefix.
  const auto rule = map::parse_pattern_rule(first_line, map::PatternDialect::pcre, warn);
  if (!rule || rule->pattern.text.find('\\') != std::string::npos) return 0;
  const auto plain = map::Regex::compile(rule->pattern.text, map::Regex::kCaseless);
  const auto same = map::Regex::compile("(?:)" + rule->pattern.text, map::Regex::kCaseless);
  if (plain && same && rule->pattern.text.find("(*") == std::string::npos) {
    const auto a = plain->match(key, nullptr), b = same->match(key, nullptr);
    if (a != map::Regex::Outcome::limit && b != map::Regex::Outcome::limit) MR_ASSERT(a == b);
  }
  return 0;
}
