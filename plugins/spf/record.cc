// Parsing records: see record.h.
#include "plugins/spf/record.h"

#include <algorithm>

namespace millrace::spf {
namespace {

constexpr std::string_view kVersion = "v=spf1";

char to_lower(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_alpha(char c) { return to_lower(c) >= 'a' && to_lower(c) <= 'z'; }
bool is_alnum(char c) { return is_digit(c) || is_alpha(c); }
std::string lower(std::string_view text) {
  std::string out(text);
  std::transform(out.begin(), out.end(), out.begin(), to_lower);
  return out;
}

// toplabel: letters, digits and inner hyphens, not all digits (section 7.1).
bool is_toplabel(std::string_view label) {
  if (label.empty() || label.front() == '-' || label.back() == '-') return false;
  return std::all_of(label.begin(), label.end(), [](char c) { return is_alnum(c) || c == '-'; }) &&
         !std::all_of(label.begin(), label.end(), is_digit);
}

// domain-end: "." toplabel [ "." ], or a macro at the very end.
bool ends_as_domain(const MacroString& parts) {
  if (parts.empty()) return false;
  std::string_view tail = parts.back().literal;
  if (parts.back().letter != '\0') return true;
  if (tail.ends_with('.')) tail.remove_suffix(1);
  const std::size_t dot = tail.rfind('.');
  return dot != tail.npos && is_toplabel(tail.substr(dot + 1));
}

std::optional<MacroString> parse_domain_spec(std::string_view text) {
  auto parts = parse_macro_string(text, MacroUse::domain);
  if (!parts || text.empty()) return {};
  const bool ends_in_escape = text.size() >= 2 && text[text.size() - 2] == '%' &&
                              (text.ends_with("%%") || text.ends_with("%_") || text.ends_with("%-"));
  return ends_in_escape || ends_as_domain(*parts) ? parts : std::nullopt;
}

// "0", or digits that do not begin with 0, at most `limit`.
std::optional<unsigned> parse_length(std::string_view digits, unsigned limit) {
  if (digits.empty() || digits.size() > 3 || (digits.size() > 1 && digits[0] == '0')) return {};
  unsigned out = 0;
  for (const char c : digits) {
    if (!is_digit(c)) return {};
    out = out * 10 + static_cast<unsigned>(c - '0');
  }
  return out <= limit ? std::optional(out) : std::nullopt;
}

// Cuts "/digits" off the end of `text`: the digits.
std::optional<std::string_view> cut_length(std::string_view& text, std::string_view mark) {
  const std::size_t at = text.find_last_not_of("0123456789");
  if (at == text.npos || at + 1 < mark.size() || at + 1 == text.size() || text.substr(at + 1 - mark.size(), mark.size()) != mark) return {};
  const std::string_view digits = text.substr(at + 1);
  text = text.substr(0, at + 1 - mark.size());
  return digits;
}

struct Name {
  std::string_view word;
  Mechanism mechanism;
};
constexpr Name kNames[] = {{"all", Mechanism::all}, {"include", Mechanism::include}, {"a", Mechanism::a},     {"mx", Mechanism::mx},
                           {"ptr", Mechanism::ptr}, {"ip4", Mechanism::ip4},         {"ip6", Mechanism::ip6}, {"exists", Mechanism::exists}};

bool parse_lengths(std::string_view& rest, Directive& out) {
  if (const auto six = cut_length(rest, "//")) {
    const auto length = parse_length(*six, 128);
    if (!length) return false;
    out.length6 = *length;
  }
  if (const auto four = cut_length(rest, "/")) {
    const auto length = parse_length(*four, 32);
    if (!length) return false;
    out.length4 = *length;
  }
  return true;
}

bool parse_network_term(std::string_view rest, Directive& out) {
  if (!rest.starts_with(':')) return false;
  rest.remove_prefix(1);
  const bool six = out.mechanism == Mechanism::ip6;
  out.network.length = six ? 128 : 32;
  if (const auto digits = cut_length(rest, "/")) {
    const auto length = parse_length(*digits, out.network.length);
    if (!length) return false;
    out.network.length = *length;
  }
  const auto address = six ? parse_ip6(rest) : parse_ip4(rest);
  if (!address) return false;
  out.network.base = *address;
  return true;
}

bool parse_directive(std::string_view term, Directive& out) {
  out.text = term;
  switch (term.front()) {
    case '+': break;
    case '-': out.qualifier = Qualifier::fail; break;
    case '~': out.qualifier = Qualifier::softfail; break;
    case '?': out.qualifier = Qualifier::neutral; break;
    default: term = std::string_view(); break;
  }
  std::string_view rest = term.empty() ? std::string_view(out.text) : std::string_view(out.text).substr(1);
  const std::size_t end = std::min(rest.find_first_of(":/"), rest.size());
  const std::string word = lower(rest.substr(0, end));
  const auto name = std::find_if(std::begin(kNames), std::end(kNames), [&](const Name& one) { return one.word == word; });
  if (name == std::end(kNames)) return false;
  out.mechanism = name->mechanism;
  rest.remove_prefix(end);
  if (out.mechanism == Mechanism::ip4 || out.mechanism == Mechanism::ip6) return parse_network_term(rest, out);
  if ((out.mechanism == Mechanism::a || out.mechanism == Mechanism::mx) && !parse_lengths(rest, out)) return false;
  const bool must = out.mechanism == Mechanism::include || out.mechanism == Mechanism::exists;
  if (rest.empty()) return !must;
  if (out.mechanism == Mechanism::all || !rest.starts_with(':')) return false;
  out.domain = parse_domain_spec(rest.substr(1));
  return out.domain.has_value();
}

// "name=value" where the name is one (section 4.6.1).
bool is_modifier(std::string_view term, std::size_t equal) {
  return equal != term.npos && equal > 0 && is_alpha(term.front()) && std::all_of(term.begin(), term.begin() + static_cast<long>(equal), [](char c) {
           return is_alnum(c) || c == '-' || c == '_' || c == '.';
         });
}

bool parse_modifier(std::string_view term, std::size_t equal, Record& record) {
  const std::string name = lower(term.substr(0, equal));
  const std::string_view value = term.substr(equal + 1);
  if (name != "redirect" && name != "exp") return parse_macro_string(value, MacroUse::explanation).has_value();
  auto& place = name == "exp" ? record.explanation : record.redirect;
  if (place) return false;
  place = parse_domain_spec(value);
  return place.has_value();
}

}  // namespace

std::optional<MacroString> parse_macro_string(std::string_view text, MacroUse use) {
  MacroString out(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c != '%') {
      if ((c < 0x21 && !(c == ' ' && use == MacroUse::explanation)) || c > 0x7E) return {};
      out.back().literal += c;
      continue;
    }
    const char kind = ++i < text.size() ? text[i] : '\0';
    if (kind == '%') out.back().literal += '%';
    else if (kind == '_') out.back().literal += ' ';
    else if (kind == '-') out.back().literal += "%20";
    else if (kind != '{') return {};
    if (kind != '{') continue;
    const std::size_t end = text.find('}', i);
    if (end == text.npos || end == i + 1) return {};
    std::string_view inside = text.substr(i + 1, end - i - 1);
    i = end;
    Macro& macro = out.back();
    macro.letter = to_lower(inside.front());
    macro.url_escape = macro.letter != inside.front();
    static constexpr std::string_view kEverywhere = "slodiphv", kExplanation = "crt";
    if (kEverywhere.find(macro.letter) == kEverywhere.npos &&
        (use == MacroUse::domain || kExplanation.find(macro.letter) == kExplanation.npos)) {
      return {};
    }
    inside.remove_prefix(1);
    const std::size_t digits = std::min(inside.find_first_not_of("0123456789"), inside.size());
    if (digits > 0) {
      // More parts than a name can have are all of them.
      for (const char digit : inside.substr(0, digits)) macro.keep = std::min(macro.keep * 10 + static_cast<unsigned>(digit - '0'), 1000u);
      if (macro.keep == 0) return {};
    }
    inside.remove_prefix(digits);
    if (!inside.empty() && to_lower(inside.front()) == 'r') {
      macro.reverse = true;
      inside.remove_prefix(1);
    }
    if (inside.find_first_not_of(".-+,/_=") != inside.npos) return {};
    if (!inside.empty()) macro.delimiters = inside;
    out.emplace_back();
  }
  if (out.size() > 1 && out.back().literal.empty()) out.pop_back();
  return out;
}

bool is_spf_record(std::string_view text) {
  return text.size() >= kVersion.size() && lower(text.substr(0, kVersion.size())) == kVersion &&
         (text.size() == kVersion.size() || text[kVersion.size()] == ' ');
}

std::variant<Record, std::string> parse_record(std::string_view text) {
  Record record;
  text.remove_prefix(std::min(text.size(), kVersion.size()));
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(' '), text.size());
    const std::string_view term = text.substr(0, end);
    text.remove_prefix(std::min(end + 1, text.size()));
    if (term.empty()) continue;
    const std::size_t mark = term.find_first_of(":/=");
    const std::size_t equal = mark != term.npos && term[mark] == '=' ? mark : term.npos;
    if (is_modifier(term, equal)) {
      if (!parse_modifier(term, equal, record)) return std::string(term);
      continue;
    }
    Directive directive;
    if (!parse_directive(term, directive)) return std::string(term);
    record.directives.push_back(std::move(directive));
  }
  return record;
}

}  // namespace millrace::spf
