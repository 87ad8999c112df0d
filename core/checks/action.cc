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

std::string missing(const Row& row, std::string_view text) {
  const std::string word(row.word), given(text);
  switch (row.kind) {
    case Kind::filter: return text.empty() ? "FILTER action without destination in %s map" : "bad FILTER command " + given + " in %s -- need transport:destination";
    case Kind::redirect: return text.empty() ? "REDIRECT action without target in %s map" : "bad REDIRECT target \"" + given + "\" in %s map -- need user@domain";
    case Kind::bcc: return text.empty() ? "BCC action without recipient in %s map" : "bad BCC address \"" + given + "\" in %s map -- need user@domain";
    default: return word + " action without text in %s map";
  }
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
  const std::string_view original = value;
  const std::string_view word = take_word(value);
  std::string_view text = trim(value);
  for (const Row& row : kActions) {
    if (!iequals(word, row.word)) continue;
    Decision decision{row.kind, std::string(text), 0, {}};
    const bool lacks = (row.needs == Needs::text && text.empty()) ||
                       (row.needs == Needs::transport && text.find(':') == std::string_view::npos) ||
                       (row.needs == Needs::address && text.find('@') == std::string_view::npos);
    if (lacks) return {Kind::bad, missing(row, text), 0, {}};
    if (row.kind == Kind::reject) {
      const bool lacks_text = text.empty();
      decision.enhanced = take_enhanced_code(text);
      if (decision.enhanced.empty()) decision.enhanced = "5.7.1";
      if (decision.enhanced[0] == '2') decision.enhanced[0] = '4';   // as Postfix: no refusal says success
      decision.code = decision.enhanced[0] == '4' ? 451 : 550;
      // A code alone stays alone, as in Postfix.
      decision.text = lacks_text ? "message content rejected" : std::string(text);
    }
    return decision;
  }
  return {Kind::bad, "unsupported command in %s map: " + std::string(original), 0, {}};
}

std::string Decision::complaint(std::string_view parameter) const {
  std::string out = text;
  if (const std::size_t at = out.find("%s"); at != out.npos) out.replace(at, 2, parameter);
  return out;
}

bool is_header_text(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == text.npos) return false;
  const std::string_view name = trim(text.substr(0, colon));
  for (const char c : name) {
    if (c <= ' ' || c >= 127) return false;
  }
  return !name.empty();
}

Decision parse_header_action(std::string_view value) {
  Decision decision = parse_action(value);
  if ((decision.kind == Kind::replace || decision.kind == Kind::prepend) && !is_header_text(decision.text)) {
    decision.text = std::string("bad ") + (decision.kind == Kind::replace ? "REPLACE" : "PREPEND") + " header text \"" + decision.text +
                    "\" in %s map -- need \"headername: headervalue\"";
    decision.kind = Kind::bad;
  }
  return decision;
}

}  // namespace millrace::checks
