// access(5) results: see access_result.h.
#include "core/restrict/access_result.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::restrict {

namespace {

struct Row {
  std::string_view word;
  AccessKind kind;
  bool takes_dsn;
};
constexpr Row kRows[] = {
    {"OK", AccessKind::ok, false},
    {"RELAY", AccessKind::ok, false},
    {"DUNNO", AccessKind::dunno, false},
    {"REJECT", AccessKind::reject, true},
    {"DEFER", AccessKind::defer, true},
    {"DEFER_IF_PERMIT", AccessKind::defer_if_permit, true},
    {"DEFER_IF_REJECT", AccessKind::defer_if_reject, true},
    {"DISCARD", AccessKind::discard, false},
    {"HOLD", AccessKind::hold, false},
    {"REDIRECT", AccessKind::redirect, false},
    {"BCC", AccessKind::bcc, false},
    {"PREPEND", AccessKind::prepend, false},
    {"FILTER", AccessKind::filter, false},
    {"INFO", AccessKind::info, false},
    {"WARN", AccessKind::warn, false},
    {"HANGUP", AccessKind::hangup, false},
};

bool all_digits(std::string_view text) { return !text.empty() && std::all_of(text.begin(), text.end(), is_digit); }

}  // namespace

std::string_view take_dsn(std::string_view& text) {
  const auto number = [&](std::size_t at) {   // length of one to three digits at `at`
    std::size_t length = 0;
    while (length < 4 && at + length < text.size() && is_digit(text[at + length])) ++length;
    return length <= 3 ? length : 0;
  };
  if (text.size() < 5 || (text[0] != '2' && text[0] != '4' && text[0] != '5') || text[1] != '.') return {};
  const std::size_t subject = number(2);
  if (subject == 0 || 2 + subject >= text.size() || text[2 + subject] != '.') return {};
  const std::size_t detail = number(3 + subject);
  const std::size_t length = 3 + subject + detail;
  if (detail == 0 || (length < text.size() && !is_space(text[length]))) return {};
  const std::string_view dsn = text.substr(0, length);
  text.remove_prefix(length);
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);   // what is behind the text is part of it
  return dsn;
}

AccessResult parse_access_result(std::string_view value) {
  value = trim(value);
  AccessResult out;
  if (value.empty()) {
    out.kind = AccessKind::empty;
    return out;
  }
  const std::size_t end = std::min(value.find_first_of(" \t\r\n"), value.size());
  const std::string_view word = value.substr(0, end);
  out.text = trim(value.substr(end));
  for (const Row& row : kRows) {
    if (!iequals(word, row.word)) continue;
    out.kind = row.kind;
    if (row.takes_dsn) out.dsn = take_dsn(out.text);
    return out;
  }
  if (all_digits(value)) {   // the time stamp of some authentication mechanisms
    out.kind = AccessKind::ok;
    return out;
  }
  if (word.size() == 3 && all_digits(word) && (word[0] == '4' || word[0] == '5')) {
    out.kind = AccessKind::code;
    out.code = (word[0] - '0') * 100 + (word[1] - '0') * 10 + (word[2] - '0');
    out.dsn = take_dsn(out.text);
    return out;
  }
  out.kind = AccessKind::restrictions;
  out.text = value;
  return out;
}

}  // namespace millrace::restrict
