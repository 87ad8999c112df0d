#include "core/map/pattern_rule.h"

#include "core/base/strings.h"
#include "core/map/regex.h"

namespace millrace::map {

namespace {

// Takes "!/text/flags" off the front of `rest`.
bool take_pattern(std::string_view& rest, PatternDialect dialect, PatternText& out, const Warn& warn) {
  while (!rest.empty() && rest[0] == '!') {
    out.negated = !out.negated;
    rest = trim(rest.substr(1));
  }
  if (rest.empty()) {
    warn("no regexp: skipping this rule");
    return false;
  }
  const char delimiter = rest[0];
  std::size_t end = 1;
  while (end < rest.size() && rest[end] != delimiter) end += rest[end] == '\\' ? 2 : 1;
  if (end >= rest.size()) {
    warn(std::string("no closing regexp delimiter \"") + printable({&delimiter, 1}) + "\": skipping this rule");
    return false;
  }
  out.text = rest.substr(1, end - 1);
  rest.remove_prefix(end + 1);
  const std::string_view known = dialect == PatternDialect::pcre ? "imsxAEUX" : "imx";
  while (!rest.empty() && !is_space(rest[0]) && !(dialect == PatternDialect::regexp && rest[0] == '!')) {
    if (known.find(rest[0]) == known.npos) {
      warn("unknown regexp option \"" + printable(rest.substr(0, 1)) + "\": skipping this rule");
      return false;
    }
    if (rest[0] == 'X') warn("ignoring obsolete regexp option \"X\"");
    out.flags += rest[0];
    rest.remove_prefix(1);
  }
  return true;
}

// "$1", "${1}", "$(1)", "$$".
bool parse_result(std::string_view text, bool negated, PatternRule& rule, const Warn& warn) {
  const auto refuse = [&](const std::string& why) {
    warn(why);
    warn("bad replacement syntax: skipping this rule");
    return false;
  };
  std::string literal;
  const auto flush = [&] {
    if (!literal.empty()) rule.result.push_back({std::move(literal), 0});
    literal.clear();
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '$') {
      literal += text[i];
      continue;
    }
    const std::string_view rest = text.substr(i + 1);
    std::string_view name;
    if (!rest.empty() && rest[0] == '$') {
      literal += '$';
      ++i;
      continue;
    }
    if (!rest.empty() && (rest[0] == '{' || rest[0] == '(')) {
      const std::size_t end = rest.find(rest[0] == '{' ? '}' : ')');
      if (end == rest.npos) return refuse("truncated macro reference: \"" + printable(text) + "\"");
      name = rest.substr(1, end - 1);
      i += end + 1;
    } else {
      std::size_t end = 0;
      while (end < rest.size() && (is_alnum(rest[end]) || rest[end] == '_')) ++end;
      name = rest.substr(0, end);
      i += end;
    }
    if (name.empty()) return refuse("empty macro name: \"" + printable(text) + "\"");
    const bool digits = name.find_first_not_of("0123456789") == name.npos;
    if (!digits) return refuse("non-numeric replacement index \"" + printable(name) + "\"");
    const auto number = parse_number<unsigned>(name);
    if (!number || *number < 1 || *number > Regex::kMaxGroups)
      return refuse("out of range replacement index \"" + std::string(name) + "\"");
    if (negated) {
      warn("$number found in negative match replacement text: skipping this rule");
      return false;
    }
    flush();
    rule.result.push_back({"", *number});
    rule.highest_group = std::max(rule.highest_group, *number);
  }
  flush();
  return true;
}

bool take_keyword(std::string_view& text, std::string_view word) {
  if (!istarts_with(text, word) || (text.size() > word.size() && is_alnum(text[word.size()]))) return false;
  text.remove_prefix(word.size());
  return true;
}

}  // namespace

std::optional<PatternRule> parse_pattern_rule(std::string_view line, PatternDialect dialect, const Warn& warn) {
  PatternRule rule;
  std::string_view rest = trim(line);
  if (rest.empty()) return {};
  if (!is_alnum(rest[0])) {
    if (!take_pattern(rest, dialect, rule.pattern, warn)) return {};
    if (dialect == PatternDialect::regexp && !rest.empty() && rest[0] == '!') {
      if (!take_pattern(rest, dialect, rule.but_not.emplace(), warn)) return {};
    }
    rest = trim(rest);
    if (rest.empty()) warn("no replacement text: using empty string");
    if (!parse_result(rest, rule.pattern.negated, rule, warn)) return {};
    return rule;
  }
  if (take_keyword(rest, "endif")) {
    rule.kind = PatternRule::Kind::endif;
    if (!trim(rest).empty()) warn("ignoring extra text after ENDIF");
    return rule;
  }
  if (take_keyword(rest, "if")) {
    rule.kind = PatternRule::Kind::begin_if;
    rest = trim(rest);
    if (!take_pattern(rest, dialect, rule.pattern, warn)) return {};
    if (!trim(rest).empty())
      warn("ignoring extra text after IF statement: \"" + printable(trim(rest)) + "\"");
    return rule;
  }
  warn("ignoring unrecognized request");
  return {};
}

}  // namespace millrace::map
