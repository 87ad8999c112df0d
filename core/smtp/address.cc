// See address.h.
#include "core/smtp/address.h"

#include <arpa/inet.h>

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::smtp {
namespace {

// Skips a comment; `at` is behind its '('.
void skip_comment(std::string_view text, std::size_t& at) {
  for (int depth = 1; at < text.size() && depth > 0; ++at) {
    if (text[at] == '\\') {
      ++at;
    } else if (text[at] == '(') {
      ++depth;
    } else if (text[at] == ')') {
      --depth;
    }
  }
  at = std::min(at, text.size());
}

bool is_operator(char c) { return c == '@' || c == '.' || c == ':' || c == '%' || c == '!'; }

}  // namespace

std::string_view without_brackets(std::string_view typed) {
  if (typed.size() >= 2 && typed.front() == '<' && typed.back() == '>') return typed.substr(1, typed.size() - 2);
  return typed;
}

std::optional<std::string> parse_path(std::string_view typed, bool strict) {
  std::string_view text = without_brackets(typed);
  if (strict && text.size() == typed.size()) return {};
  if (text.empty()) return std::string();
  if (text.front() == '@') {
    if (const std::size_t colon = text.find(':'); colon != text.npos) text.remove_prefix(colon + 1);
  }
  std::string out;
  bool word = false;        // the last thing taken was a word
  bool split = false;       // two words stand side by side: a phrase, if an address in brackets follows
  bool bracket = false, done = false, extras = false;
  const auto begin_word = [&] {
    if (word) split = true;
    word = true;
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at++];
    if (is_space(c)) continue;
    if (c == '(') {
      skip_comment(text, at);
      extras = true;
    } else if (c == '<') {
      if (done || bracket) return {};
      bracket = true;
      extras = extras || !out.empty();
      out.clear();
      word = split = false;
      // A source route inside inner brackets.
      if (at < text.size() && text[at] == '@') {
        const std::size_t colon = text.find(':', at);
        if (colon != text.npos) at = colon + 1;
      }
    } else if (c == '>') {
      done = done || bracket;
      extras = true;
    } else if (c == ',' || c == ';') {
      return {};
    } else if (done) {
      return {};
    } else if (c == '"') {
      begin_word();
      while (at < text.size() && text[at] != '"') {
        if (text[at] == '\\' && at + 1 < text.size()) ++at;
        out += text[at++];
      }
      if (at++ >= text.size()) return {};
    } else if (c == '[') {
      begin_word();
      out += c;
      while (at < text.size() && text[at] != ']') out += text[at++];
      if (at >= text.size()) return {};
      out += text[at++];
    } else if (is_operator(c)) {
      out += c;
      word = false;
    } else {
      begin_word();
      // The first character always belongs to it: a stray ')' must not stop the parser.
      const std::size_t start = --at;
      while (at < text.size()) {
        const char next = text[at];
        const bool ends = is_space(next) || is_operator(next) || std::string_view("()<>,;\"[").find(next) != std::string_view::npos;
        if (ends && at > start) break;
        if (next == '\\' && at + 1 < text.size()) ++at;
        out += text[at++];
      }
    }
  }
  if (split || (strict && (extras || out.empty() || out.front() == '@'))) return {};
  if (out.empty()) return {};
  return out;
}

bool is_host_name(std::string_view name, bool utf8) {
  if (name.empty() || name.size() > 255) return false;
  if (name.back() == '.') name.remove_suffix(1);
  std::size_t label = 0;
  bool non_numeric = false;
  char previous = '.';
  for (const char c : name) {
    if (c == '.') {
      if (label == 0 || label > 63 || previous == '-') return false;
      label = 0;
    } else if (is_alnum(c) || c == '_' || c == '-' || (utf8 && static_cast<unsigned char>(c) > 127)) {
      if (label == 0 && c == '-') return false;
      ++label;
      if (!is_digit(c)) non_numeric = true;
    } else {
      return false;
    }
    previous = c;
  }
  return label > 0 && label <= 63 && previous != '-' && non_numeric;
}

bool is_ip_address(std::string_view text) {
  if (istarts_with(text, "IPv6:")) text.remove_prefix(5);
  char zero_ended[64];
  if (text.size() >= sizeof zero_ended) return false;
  zero_ended[text.copy(zero_ended, text.size())] = '\0';
  unsigned char raw[16];
  return inet_pton(AF_INET, zero_ended, raw) == 1 || inet_pton(AF_INET6, zero_ended, raw) == 1;
}

}  // namespace millrace::smtp
