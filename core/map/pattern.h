// pcre: and regexp: tables: rules in order, first match wins; if/endif, negation, substitution.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/map/pattern_rule.h"
#include "core/map/regex.h"
#include "core/map/table.h"

namespace millrace::map {

class PatternRules {
 public:
  explicit PatternRules(PatternDialect dialect) : dialect_(dialect) {}
  // As CidrRules: what cannot be used is warned about and skipped.
  void add(std::string_view line, int number, const Warn& warn);
  void finish(const Warn& warn);
  // Errors: temporary, when a match hit a limit.
  Lookup find(std::string_view key) const;

 private:
  struct Compiled { bool negated = false; Regex regex; };
  struct Rule {
    PatternRule::Kind kind = PatternRule::Kind::match;
    std::vector<Compiled> patterns;               // all must agree
    std::vector<PatternRule::Piece> result;
    bool has_groups = false;
    std::size_t block_end = 0;
    int line = 0;
  };
  bool compile(const PatternText& text, Rule& rule, const Warn& warn) const;

  // The first octets of what a rule can match, without case: most rules are told apart by them, in one compare and
  // without touching the rule.
  struct Start {
    std::uint64_t octets = 0, mask = 0;
  };
  static Start start_of(std::string_view text);

  PatternDialect dialect_;
  std::vector<Rule> rules_;
  std::vector<Start> starts_;   // by rule; mask 0: it may match anything
  std::vector<std::size_t> open_;
};

}  // namespace millrace::map
