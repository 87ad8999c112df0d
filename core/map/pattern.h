// pcre: and regexp: tables: rules in order, first match wins; if/endif, negation, substitution.
#pragma once

#include <array>
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

  // The first octets of what a rule can match, without case, and pairs of neighbours that must stand in it: nearly all
  // rules that do not match are left out by them, without touching the rule or running PCRE2.
  struct Start {
    std::uint64_t octets = 0, mask = 0;
    std::array<std::uint16_t, 4> pairs{};
    std::uint16_t pair_count = 0;
  };
  static Start start_of(std::string_view text);
  static void add_pairs(const std::vector<std::string>& literals, Start& start);

  PatternDialect dialect_;
  std::vector<Rule> rules_;
  std::vector<Start> starts_;   // by rule; mask 0: it may match anything
  std::vector<std::size_t> open_;
};

}  // namespace millrace::map
