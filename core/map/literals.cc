#include "core/map/literals.h"

#include <optional>

#include "core/base/strings.h"

namespace millrace::map {

namespace {

// Where the list "[…]" that begins at `at` ends, one past its ']'; nullopt when that is hard to tell.
std::optional<std::size_t> after_list(std::string_view pattern, std::size_t at) {
  std::size_t i = at + 1;
  if (i < pattern.size() && pattern[i] == '^') ++i;
  if (i < pattern.size() && pattern[i] == ']') ++i;
  for (; i < pattern.size(); ++i) {
    if (pattern[i] == ']') return i + 1;
    const char after = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (pattern[i] == '\\') {
      if (after == 'Q' || after == 'E' || after == 'c' || after == '\0') return {};
      ++i;
    } else if (pattern[i] == '[' && (after == ':' || after == '.' || after == '=')) {
      const std::size_t close = pattern.find(std::string{after, ']'}, i + 2);
      if (close == pattern.npos) return {};
      i = close + 1;
    }
  }
  return {};
}

// Where the group that begins at `at` ends, one past its ')'.
std::optional<std::size_t> after_group(std::string_view pattern, std::size_t at) {
  int depth = 0;
  for (std::size_t i = at; i < pattern.size();) {
    const char c = pattern[i], after = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      if (after == 'Q' || after == 'E' || after == 'c' || after == '\0') return {};
      i += 2;
    } else if (c == '[') {
      const auto next = after_list(pattern, i);
      if (!next) return {};
      i = *next;
    } else if (c == '(') {
      // Options, comments, conditions and verbs may change how all that follows is read.
      if (after == '*') return {};
      if (after == '?' && (i + 2 >= pattern.size() || std::string_view(":=!<>").find(pattern[i + 2]) == std::string_view::npos))
        return {};
      ++depth;
      ++i;
    } else if (c == ')') {
      ++i;
      if (--depth == 0) return i;
    } else {
      ++i;
    }
  }
  return {};
}

bool is_quantifier(char c) { return c == '*' || c == '+' || c == '?' || c == '{'; }

}  // namespace

std::string literal_prefix(std::string_view pattern) {
  if (pattern.size() < 2 || pattern[0] != '^') return {};
  // An alternative outside all groups would be another way to match.  Whatever makes it hard to tell
  // where groups and lists end makes us give up: a wrong prefix would lose matches.
  int depth = 0;
  bool in_list = false;
  for (std::size_t i = 1; i < pattern.size(); ++i) {
    const char c = pattern[i];
    const char after = i + 1 < pattern.size() ? pattern[i + 1] : '\0';
    if (c == '\\') {
      if (after == 'Q' || after == 'E' || after == 'c') return {};
      ++i;
    } else if (c == '|' && (in_list || depth <= 0)) {
      return {};
    } else if (c == '[' && !in_list) {
      in_list = true;
      if (after == '^') ++i;
      if (i + 1 < pattern.size() && pattern[i + 1] == ']') ++i;
    } else if (c == '[' && (after == ':' || after == '.' || after == '=')) {
      const std::size_t close = pattern.find(std::string{after, ']'}, i + 2);
      if (close == pattern.npos || pattern.substr(i, close - i).find('|') != pattern.npos) return {};
      i = close + 1;
    } else if (in_list) {
      if (c == '(' || c == ')') return {};
      in_list = c != ']';
    } else if (c == '(') {
      if (after == '?' && (i + 2 >= pattern.size() || std::string_view(":=!<>").find(pattern[i + 2]) ==
                                                          std::string_view::npos))
        return {};
      ++depth;
    } else if (c == ')') {
      --depth;
    }
  }
  std::string out;
  std::size_t i = 1;
  for (; i < pattern.size(); ++i) {
    char c = pattern[i];
    if (c == '\\' && i + 1 < pattern.size() && !is_alnum(pattern[i + 1])) {
      c = pattern[++i];
    } else if (!is_alnum(c) && c != ':' && c != '-' && c != '_' && c != ' ' && c != '@' && c != '/') {
      break;
    }
    out += c;
  }
  // A quantifier makes the last character optional.
  if (i < pattern.size() && (pattern[i] == '*' || pattern[i] == '?' || pattern[i] == '{') && !out.empty())
    out.pop_back();
  return out;
}

std::vector<std::string> required_literals(std::string_view pattern) {
  std::vector<std::string> out;
  std::string run;
  const auto end_run = [&] {
    if (run.size() >= 2) out.push_back(lower(run));
    run.clear();
  };
  for (std::size_t i = 0; i < pattern.size();) {
    char c = pattern[i];
    std::size_t next = i + 1;
    bool literal = false;
    if (c == '|') return {};   // an alternative outside of groups: nothing must be there
    if (c == '\\') {
      if (next >= pattern.size()) return {};
      const char escaped = pattern[next];
      if (escaped == 'Q' || escaped == 'E' || escaped == 'c') return {};
      // Of \x41, \o{101}, \p{L}, \g{1}, \k<name>, \N{U+41} the arguments are no text.
      if (std::string_view("xopPgkN").find(escaped) != std::string_view::npos) return {};
      literal = !is_alnum(escaped);
      c = escaped;
      ++next;
      if (is_digit(escaped)) {
        while (next < pattern.size() && is_digit(pattern[next])) ++next;
      }
    } else if (c == '[') {
      const auto after = after_list(pattern, i);
      if (!after) return {};
      next = *after;
    } else if (c == '(') {
      const auto after = after_group(pattern, i);
      if (!after) return {};
      next = *after;
    } else if (c == ')') {
      return {};
    } else {
      literal = c != '.' && c != '^' && c != '$' && !is_quantifier(c);
    }
    const bool quantified = next < pattern.size() && is_quantifier(pattern[next]);
    if (literal && !(quantified && pattern[next] != '+')) run += c;
    if (!literal || quantified) end_run();
    i = next;
    if (quantified) {
      if (pattern[i] == '{') {   // "{2,3}" whole: its digits are no text
        const std::size_t close = pattern.find_first_not_of("0123456789,", i + 1);
        if (close == pattern.npos || pattern[close] != '}') return {};
        i = close;
      }
      ++i;
      while (i < pattern.size() && (pattern[i] == '?' || pattern[i] == '+')) ++i;   // lazy, possessive
    }
  }
  end_run();
  return out;
}

std::uint16_t Pairs::place(char first, char second) {
  const auto fold = [](char c) { return static_cast<unsigned char>(c >= 'A' && c <= 'Z' ? c | 0x20 : c); };
  return static_cast<std::uint16_t>((fold(first) * 61U + fold(second)) & 0xfff);
}

Pairs::Pairs(std::string_view text) {
  for (std::size_t i = 1; i < text.size(); ++i) {
    const std::uint16_t at = place(text[i - 1], text[i]);
    words_[at >> 6] |= std::uint64_t{1} << (at & 63);
  }
}

}  // namespace millrace::map
