#include "core/map/cidr.h"

#include "core/base/strings.h"

namespace millrace::map {

namespace {
// A keyword is not followed by a letter or digit.
bool take_keyword(std::string_view& text, std::string_view word) {
  if (!istarts_with(text, word) || (text.size() > word.size() && is_alnum(text[word.size()]))) return false;
  text.remove_prefix(word.size());
  return true;
}
}  // namespace

void CidrRules::add(std::string_view line, int number, const Warn& warn) {
  const auto skip = [&](const std::string& why) {
    warn("line " + std::to_string(number) + ": " + why + ": skipping this rule");
  };
  Rule rule;
  rule.line = number;
  std::string_view rest = trim(line);
  if (take_keyword(rest, "endif")) {
    if (!trim(rest).empty()) return skip("garbage after ENDIF");
    if (open_.empty()) return skip("ENDIF without IF");
    rules_[open_.back()].block_end = rules_.size();
    open_.pop_back();
    rule.kind = Kind::endif;
    rules_.push_back(std::move(rule));
    return;
  }
  if (take_keyword(rest, "if")) rule.kind = Kind::begin_if;
  rest = trim(rest);
  while (!rest.empty() && rest[0] == '!') {
    rule.negated = !rule.negated;
    rest = trim(rest.substr(1));
  }
  // What follows the pattern of an IF is part of it, and makes it a bad one.
  std::string_view pattern = rest;
  if (rule.kind == Kind::match) {
    pattern = take_word(rest, " \t\r\n\v\f");
    rule.value = trim(rest);
    if (!pattern.empty() && rule.value.empty()) return skip("no lookup result");
  }
  if (pattern.empty()) return skip("no address pattern");
  const auto network = parse_network(pattern);
  if (!network) return skip(network.error().context);
  rule.network = *network;
  if (rule.kind == Kind::begin_if) open_.push_back(rules_.size());
  rules_.push_back(std::move(rule));
}

void CidrRules::finish(const Warn& warn) {
  for (const std::size_t index : open_) {
    rules_[index].block_end = rules_.size();
    warn("line " + std::to_string(rules_[index].line) + ": IF has no matching ENDIF");
  }
  open_.clear();
}

const std::string* CidrRules::find(std::string_view key) const {
  const auto address = parse_address(key);
  if (!address) return nullptr;
  for (std::size_t i = 0; i < rules_.size(); ++i) {
    const Rule& rule = rules_[i];
    if (rule.kind == Kind::endif) continue;
    // Negation does not reach across address families.
    const bool hit = rule.network.base.bits == address->bits &&
                     rule.network.contains(*address) != rule.negated;
    if (rule.kind == Kind::match && hit) return &rule.value;
    if (rule.kind == Kind::begin_if && !hit) i = rule.block_end;
  }
  return nullptr;
}

}  // namespace millrace::map
