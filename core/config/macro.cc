#include "core/config/macro.h"

#include <array>

#include "core/base/strings.h"

namespace millrace::config {
namespace {

using Lookup = std::function<std::optional<std::string>(std::string_view)>;

constexpr std::string_view kBlanks = " \t\r\n\v\f";
constexpr std::string_view kOperatorBytes = "<>!=?+-*/~&|%";

bool is_name_byte(char c) { return is_alnum(c) || c == '_'; }

// At most 20 bytes of where the text stopped making sense.
std::string near(std::string_view rest) { return "near \"" + std::string(rest.substr(0, 20)) + "\""; }

void skip_blanks(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(kBlanks), text.size()));
}

enum class Relation { eq, ne, lt, le, ge, gt };
constexpr std::array<std::pair<std::string_view, Relation>, 6> kRelations = {{{"==", Relation::eq},
                                                                              {"!=", Relation::ne},
                                                                              {"<", Relation::lt},
                                                                              {"<=", Relation::le},
                                                                              {">=", Relation::ge},
                                                                              {">", Relation::gt}}};

bool holds(Relation relation, int order) {
  switch (relation) {
    case Relation::eq: return order == 0;
    case Relation::ne: return order != 0;
    case Relation::lt: return order < 0;
    case Relation::le: return order <= 0;
    case Relation::ge: return order >= 0;
    case Relation::gt: return order > 0;
  }
  return false;
}

bool all_digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos;
}

// Evaluates one value, or (with `seen` set) only reports the names in it.
class Expander {
 public:
  Expander(const Lookup* lookup, Recurse recurse, const std::function<void(std::string_view)>* seen)
      : lookup_(lookup), recurse_(recurse), seen_(seen) {}

  // Appends the expansion of `text` to `out`; false after an error.
  bool text(std::string_view text, std::string& out);
  const std::string& problem() const { return problem_; }

 private:
  bool error(std::string text) {
    if (problem_.empty()) problem_ = std::move(text);
    return false;
  }
  bool append(std::string_view bytes, std::string& out) {
    if (seen_ != nullptr) return true;
    if ((bytes_ += bytes.size()) > kMacroBytes) return error("the expanded value is too long");
    out += bytes;
    return true;
  }
  bool expression(std::string_view body, std::string& out);
  bool relation(std::string_view& rest, std::optional<std::string>& value);
  bool name(std::string_view& rest, std::optional<std::string>& value);
  bool choose(std::string_view rest, const std::optional<std::string>& value, std::string& out);
  bool braced(std::string_view& rest, std::string_view& payload);

  const Lookup* lookup_;
  const Recurse recurse_;
  const std::function<void(std::string_view)>* seen_;
  std::string problem_;
  std::size_t bytes_ = 0;
  int depth_ = 0, steps_ = 0;
};

bool Expander::text(std::string_view text, std::string& out) {
  if (++depth_ > (recurse_ == Recurse::yes ? kMacroDepth : kMacroDepthPlain)) {
    return error("parameters name each other, or are nested too deeply");
  }
  const std::string_view whole = text;
  while (!text.empty()) {
    const std::size_t dollar = text.find('$');
    if (!append(text.substr(0, dollar), out)) return false;
    if (dollar == std::string_view::npos) break;
    text.remove_prefix(dollar + 1);
    if (!text.empty() && text[0] == '$') {
      if (!append("$", out)) return false;
      text.remove_prefix(1);
      continue;
    }
    std::string_view body;
    if (!text.empty() && (text[0] == '{' || text[0] == '(')) {
      const char open = text[0], close = open == '{' ? '}' : ')';
      std::size_t end = 1;
      for (int level = 1; level > 0; ++end) {
        if (end == text.size()) return error("\"" + std::string(1, close) + "\" is missing " + near(whole));
        if (text[end] == open) ++level;
        if (text[end] == close) --level;
      }
      body = text.substr(1, end - 2);
      text.remove_prefix(end);
    } else {
      std::size_t end = 0;
      while (end < text.size() && is_name_byte(text[end])) ++end;
      body = text.substr(0, end);
      text.remove_prefix(end);
    }
    if (body.empty()) return error("\"$\" without a name " + near(whole));
    if (!expression(body, out)) return false;
  }
  --depth_;
  return true;
}

// What stands between "${" and "}".
bool Expander::expression(std::string_view body, std::string& out) {
  std::string_view rest = body;
  skip_blanks(rest);
  std::optional<std::string> value;
  const bool relational = !rest.empty() && rest[0] == '{';
  if (!(relational ? relation(rest, value) : name(rest, value))) return false;
  if (!rest.empty()) return choose(rest, value, out);
  if (!value || value->empty() || seen_ != nullptr) return true;   // undefined is empty
  return recurse_ == Recurse::yes ? text(*value, out) : append(*value, out);
}

// "?a", ":b" or "?{a}:{b}" after a name or a relation.
bool Expander::choose(std::string_view rest, const std::optional<std::string>& value, std::string& out) {
  const bool is_true = value && !value->empty();
  bool if_true = rest[0] == '?';
  rest.remove_prefix(1);
  for (;;) {
    // Without braces the rest is the result as it stands: it may hold any of "?:{}" (Postfix 2.11).
    std::string_view result = rest, after = rest;
    skip_blanks(after);
    if (!after.empty() && after[0] == '{') {
      rest = after;
      if (!braced(rest, result)) return false;
    } else {
      rest = {};
    }
    if ((is_true == if_true || seen_ != nullptr) && !text(result, out)) return false;
    if (rest.empty()) return true;
    if (!if_true) return error("unexpected text " + near(rest));
    if (rest[0] != ':') return error("\":\" expected " + near(rest));
    rest.remove_prefix(1);
    if_true = false;
  }
}

// A name up to the end, "?" or ":"; blanks around it do not count.
bool Expander::name(std::string_view& rest, std::optional<std::string>& value) {
  std::size_t end = 0;
  while (end < rest.size() && is_name_byte(rest[end])) ++end;
  const std::string_view key = rest.substr(0, end);
  std::string_view after = rest.substr(end);
  skip_blanks(after);
  if (!after.empty() && after[0] != '?' && after[0] != ':') {
    return error("bad character in a name " + near(rest.substr(end)));
  }
  if (++steps_ > kMacroSteps) return error("too many names in one value");
  rest = after;
  if (seen_ != nullptr) {
    (*seen_)(key);
  } else {
    value = (*lookup_)(key);
  }
  return true;
}

// "{x} == {y}": leaves "true" or "" in `value`.
bool Expander::relation(std::string_view& rest, std::optional<std::string>& value) {
  std::string_view left_text, right_text;
  if (!braced(rest, left_text)) return false;
  const std::string_view operator_text = rest.substr(0, std::min(rest.find_first_not_of(kOperatorBytes), rest.size()));
  const std::pair<std::string_view, Relation>* found = nullptr;
  for (const auto& row : kRelations) {
    if (row.first == operator_text) found = &row;
  }
  if (found == nullptr) return error("==, !=, <, <=, >= or > expected " + near(rest));
  rest.remove_prefix(operator_text.size());
  std::size_t end = 0;
  while (end < rest.size() && is_alnum(rest[end])) ++end;
  const std::string_view suffix = rest.substr(0, end);
  if (!suffix.empty() && suffix != "level") return error("unknown operator suffix " + near(rest));
  rest.remove_prefix(end);
  skip_blanks(rest);
  if (rest.empty() || rest[0] != '{') return error("\"{\" expected " + near(rest));
  if (!braced(rest, right_text)) return false;

  std::string left, right;
  if (!text(left_text, left) || !text(right_text, right)) return false;
  if (!rest.empty() && rest[0] != '?' && rest[0] != ':') return error("\"?\" or \":\" expected " + near(rest));
  if (seen_ != nullptr) return true;
  int order = left.compare(right);
  if (!suffix.empty()) {
    const auto a = parse_level(left), b = parse_level(right);
    if (!a || !b) return error("bad compatibility level: \"" + (a ? right : left) + "\"");
    order = *a < *b ? -1 : *a > *b ? 1 : 0;
  } else if (all_digits(left) && all_digits(right)) {
    const auto a = parse_number(left), b = parse_number(right);
    if (!a || !b) return error("number out of range: \"" + (a ? right : left) + "\"");
    order = *a < *b ? -1 : *a > *b ? 1 : 0;
  }
  value = holds(found->second, order) ? "true" : "";
  return true;
}

// `rest` begins with "{": cuts "{…}" and the blanks after it off.
bool Expander::braced(std::string_view& rest, std::string_view& payload) {
  int level = 0;
  for (std::size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '{') ++level;
    if (rest[i] == '}' && --level == 0) {
      payload = rest.substr(1, i - 1);
      rest.remove_prefix(i + 1);
      skip_blanks(rest);
      return true;
    }
  }
  return error("\"}\" is missing " + near(rest));
}

}  // namespace

Result<std::string> expand_macros(std::string_view text,
                                  const std::function<std::optional<std::string>(std::string_view)>& lookup,
                                  Recurse recurse) {
  Expander expander(&lookup, recurse, nullptr);
  std::string out;
  if (!expander.text(text, out)) return fail(Errc::config, expander.problem());
  return out;
}

void for_each_macro(std::string_view text, const std::function<void(std::string_view)>& seen) {
  Expander expander(nullptr, Recurse::yes, &seen);
  std::string out;
  expander.text(text, out);
}

std::optional<std::int64_t> parse_level(std::string_view text) {
  constexpr std::int64_t kPartLimit = 1 << 10;
  std::int64_t level = 0;
  for (int part = 0; part < 3; ++part) {
    const std::size_t dot = text.find('.');
    const auto number = parse_number<std::int64_t>(text.substr(0, dot));
    if (!number || *number >= (part == 0 ? std::int64_t{1} << 40 : kPartLimit)) return {};
    level |= *number << (20 - 10 * part);
    if (dot == std::string_view::npos) return level;
    if (part == 2) return {};
    text.remove_prefix(dot + 1);
  }
  return {};
}

}  // namespace millrace::config
