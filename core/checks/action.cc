#include "core/checks/action.h"

#include "core/base/strings.h"

namespace millrace::checks {
namespace {

using Kind = Decision::Kind;

enum class Needs { nothing, text, transport, address };
struct Row {
  std::string_view word;
  Kind kind;
  Needs needs;
};
constexpr Row kActions[] = {
    {"REJECT", Kind::reject, Needs::nothing},     {"WARN", Kind::warn, Needs::nothing},
    {"INFO", Kind::info, Needs::nothing},         {"IGNORE", Kind::ignore, Needs::nothing},
    {"STRIP", Kind::strip, Needs::nothing},       {"REPLACE", Kind::replace, Needs::text},
    {"PREPEND", Kind::prepend, Needs::text},      {"HOLD", Kind::hold, Needs::nothing},
    {"DISCARD", Kind::discard, Needs::nothing},   {"FILTER", Kind::filter, Needs::transport},
    {"REDIRECT", Kind::redirect, Needs::address}, {"BCC", Kind::bcc, Needs::address},
    {"PASS", Kind::pass, Needs::nothing},         {"DUNNO", Kind::dunno, Needs::nothing},
    {"OK", Kind::dunno, Needs::nothing},
};

std::string missing(const Row& row) {
  const std::string word(row.word);
  if (row.needs == Needs::text) return word + " without text";
  if (row.needs == Needs::transport) return word + " without transport:destination";
  return word + " without user@domain";
}

}  // namespace

std::string take_enhanced_code(std::string_view& text) {
  std::size_t at = 0;
  const auto digits = [&](std::size_t most) {
    const std::size_t start = at;
    while (at < text.size() && at - start < most && is_digit(text[at])) ++at;
    return at > start;
  };
  if (text.empty() || (text[0] != '2' && text[0] != '4' && text[0] != '5')) return {};
  ++at;
  for (int i = 0; i < 2; ++i) {
    if (at >= text.size() || text[at] != '.') return {};
    ++at;
    if (!digits(3)) return {};
  }
  if (at < text.size() && !is_space(text[at])) return {};
  const std::string code(text.substr(0, at));
  text = trim(text.substr(at));
  return code;
}

Decision parse_action(std::string_view value) {
  value = trim(value);
  const std::string_view word = take_word(value);
  std::string_view text = trim(value);
  for (const Row& row : kActions) {
    if (!iequals(word, row.word)) continue;
    Decision decision{row.kind, std::string(text), 0, {}};
    const bool lacks = (row.needs == Needs::text && text.empty()) ||
                       (row.needs == Needs::transport && text.find(':') == std::string_view::npos) ||
                       (row.needs == Needs::address && text.find('@') == std::string_view::npos);
    if (lacks) return {Kind::bad, missing(row), 0, {}};
    if (row.kind == Kind::reject) {
      decision.enhanced = take_enhanced_code(text);
      if (decision.enhanced.empty() || decision.enhanced[0] == '2') decision.enhanced = "5.7.1";
      decision.code = decision.enhanced[0] == '4' ? 451 : 550;
      decision.text = text.empty() ? "message content rejected" : std::string(text);
    }
    return decision;
  }
  return {Kind::bad, "unknown command: " + std::string(word), 0, {}};
}

}  // namespace millrace::checks
