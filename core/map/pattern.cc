#include "core/map/pattern.h"

#include <optional>

#include "core/base/strings.h"
#include "core/map/ere.h"
#include "core/map/literals.h"

namespace millrace::map {

bool PatternRules::compile(const PatternText& text, Rule& rule, const Warn& warn) const {
  const auto is_set = [&](char flag, bool otherwise) {   // each mention turns it over
    for (const char c : text.flags) otherwise ^= c == flag;
    return otherwise;
  };
  unsigned options = 0;
  if (is_set('i', true)) options |= Regex::kCaseless;
  std::string pattern = text.text;
  if (dialect_ == PatternDialect::regexp) {
    PosixSyntax syntax;
    syntax.ignore_case = options != 0;
    syntax.newline = is_set('m', false);
    syntax.extended = is_set('x', true);
    auto translated = translate_posix(pattern, syntax);
    if (!translated) {
      warn(translated.error().context + ": skipping this rule");
      return false;
    }
    pattern = std::move(*translated);
    options |= Regex::kDollarEndOnly;
    if (syntax.newline) options |= Regex::kMultiline | Regex::kPosixCaret;
    if (!syntax.newline) options |= Regex::kDotAll;
  } else {
    if (is_set('m', false)) options |= Regex::kMultiline;
    if (is_set('s', true)) options |= Regex::kDotAll;
    if (is_set('x', false)) options |= Regex::kExtended;
    if (is_set('A', false)) options |= Regex::kAnchored;
    if (is_set('E', false)) options |= Regex::kDollarEndOnly;
    if (is_set('U', false)) options |= Regex::kUngreedy;
  }
  auto regex = Regex::compile(pattern, options);
  if (!regex) {
    warn(regex.error().context + ": skipping this rule");
    return false;
  }
  rule.patterns.push_back({text.negated, std::move(*regex)});
  return true;
}

void PatternRules::add(std::string_view line, int number, const Warn& outer) {
  const Warn warn = [&](const std::string& text) { outer("line " + std::to_string(number) + ": " + text); };
  auto parsed = parse_pattern_rule(line, dialect_, warn);
  if (!parsed) return;
  Rule rule;
  rule.kind = parsed->kind;
  rule.line = number;
  if (rule.kind == PatternRule::Kind::endif) {
    if (open_.empty()) return warn("ignoring ENDIF without matching IF");
    rules_[open_.back()].block_end = rules_.size();
    open_.pop_back();
  } else {
    if (!compile(parsed->pattern, rule, warn)) return;
    if (parsed->highest_group > rule.patterns[0].regex.group_count())
      return warn("out of range replacement index \"" + std::to_string(parsed->highest_group) +
                  "\": skipping this rule");
    if (parsed->but_not && !compile(*parsed->but_not, rule, warn)) return;
    if (rule.kind == PatternRule::Kind::begin_if) open_.push_back(rules_.size());
  }
  rule.has_groups = parsed->highest_group > 0;
  rule.result = std::move(parsed->result);
  const bool decides = rule.kind == PatternRule::Kind::match && !rule.patterns[0].negated;
  Start start;
  if (decides) {
    start = start_of(rule.patterns[0].regex.prefix());
    add_pairs(rule.patterns[0].regex.literals(), start);
  }
  starts_.push_back(start);
  rules_.push_back(std::move(rule));
}

PatternRules::Start PatternRules::start_of(std::string_view text) {
  Start start;
  for (std::size_t i = 0; i < sizeof start.octets && i < text.size(); ++i) {
    const char c = text[i];
    start.octets |= std::uint64_t{static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c)} << (8 * i);
    start.mask |= std::uint64_t{0xff} << (8 * i);
  }
  return start;
}

// From the end of each run, the last run first: what is special to a rule seldom stands at its beginning.
void PatternRules::add_pairs(const std::vector<std::string>& literals, Start& start) {
  for (std::size_t run = literals.size(); run-- > 0;) {
    const std::string& text = literals[run];
    for (std::size_t i = text.size() - 1; i > 0 && start.pair_count < start.pairs.size(); i -= i >= 2 ? 2 : 1) {
      start.pairs[start.pair_count++] = Pairs::place(text[i - 1], text[i]);
    }
  }
}

void PatternRules::finish(const Warn& warn) {
  for (const std::size_t index : open_) {
    rules_[index].block_end = rules_.size();
    warn("line " + std::to_string(rules_[index].line) + ": IF has no matching ENDIF");
  }
  open_.clear();
}

Lookup PatternRules::find(std::string_view key) const {
  std::vector<std::pair<std::size_t, std::size_t>> groups;
  const std::uint64_t octets = start_of(key).octets;
  std::optional<Pairs> pairs;   // of the key: made when a rule's beginning fits
  const auto lacks = [&](const Start& start) {
    if (start.pair_count == 0) return false;
    if (!pairs) pairs.emplace(key);
    for (std::uint16_t p = 0; p < start.pair_count; ++p) {
      if (!pairs->has(start.pairs[p])) return true;
    }
    return false;
  };
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    if (((octets ^ starts_[i].octets) & starts_[i].mask) != 0 || lacks(starts_[i])) continue;
    const Rule& rule = rules_[i];
    if (rule.kind == PatternRule::Kind::endif) continue;
    bool hit = true;
    for (std::size_t p = 0; hit && p < rule.patterns.size(); ++p) {
      const auto outcome = rule.patterns[p].regex.match(key, p == 0 && rule.has_groups ? &groups : nullptr);
      if (outcome == Regex::Outcome::limit)
        return fail(Errc::temporary, "line " + std::to_string(rule.line) + ": match limit exceeded");
      hit = (outcome == Regex::Outcome::yes) != rule.patterns[p].negated;
    }
    if (rule.kind == PatternRule::Kind::begin_if) {
      if (!hit) i = rule.block_end;
      continue;
    }
    if (!hit) continue;
    std::string value;
    for (const PatternRule::Piece& piece : rule.result) {
      if (piece.group == 0) {
        value += piece.literal;
      } else if (piece.group < groups.size() && groups[piece.group].first != std::string_view::npos) {
        const auto& [begin, end] = groups[piece.group];
        value += key.substr(begin, end - begin);
      }
    }
    return std::optional<std::string>(std::move(value));
  }
  return std::optional<std::string>();
}

}  // namespace millrace::map
