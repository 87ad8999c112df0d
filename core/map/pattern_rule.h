// One line of a pcre: or regexp: table, taken apart (pcre_table(5), regexp_table(5)).  Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/map/cidr.h"

namespace millrace::map {

enum class PatternDialect { pcre, regexp };

struct PatternText {
  bool negated = false;
  std::string text, flags;
};

struct PatternRule {
  enum class Kind { match, begin_if, endif } kind = Kind::match;
  PatternText pattern;
  std::optional<PatternText> but_not;   // regexp: "/first/!/second/ result"
  // The result: literal text and group numbers in turn.
  struct Piece { std::string literal; unsigned group = 0; };  // group 0: literal
  std::vector<Piece> result;
  unsigned highest_group = 0;
};

// nullopt: the line is to be skipped; the reason went to `warn`, as did what is odd but usable.
std::optional<PatternRule> parse_pattern_rule(std::string_view line, PatternDialect dialect, const Warn& warn);

}  // namespace millrace::map
