#include "core/rewrite/address.h"

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::rewrite {

namespace {

constexpr std::string_view kSpecials = "|\"(),.:;<>@[]%!";

// Collects from `at` while `more(c)`; a backslash takes the next character whatever it is.
template <typename More>
std::string collect(std::string_view text, std::size_t& at, More&& more) {
  std::string out;
  while (at < text.size()) {
    char c = text[at];
    if (c == '\\') {
      if (++at == text.size()) break;
      c = text[at];
    } else if (!more(c)) {
      break;
    }
    out += is_space(c) ? ' ' : c;
    ++at;
  }
  return out;
}

void skip_comment(std::string_view text, std::size_t& at) {   // at_ behind "("
  for (int depth = 1; at < text.size() && depth > 0; ++at) {
    if (text[at] == '\\') ++at;
    else if (text[at] == '(') ++depth;
    else if (text[at] == ')') --depth;
  }
  at = std::min(at, text.size());
}

bool is_word(const Token& token) { return token.kind != Token::Kind::special; }

}  // namespace

Tokens scan_address(std::string_view text) {
  Tokens out;
  std::size_t at = 0;
  while (at < text.size()) {
    const char c = text[at];
    if (is_space(c)) {
      ++at;
    } else if (c == '(') {
      skip_comment(text, ++at);
    } else if (c == '"') {
      std::string inner = collect(text, ++at, [](char x) { return x != '"'; });
      if (at < text.size()) ++at;
      out.push_back({Token::Kind::quoted, std::move(inner)});
    } else if (c == '[') {
      std::string inner = collect(text, ++at, [](char x) { return x != ']'; });
      if (at < text.size()) ++at;
      out.push_back({Token::Kind::literal, "[" + inner + "]"});
    } else if (kSpecials.find(c) != kSpecials.npos) {
      out.push_back({Token::Kind::special, std::string(1, c)});
      ++at;
    } else {
      out.push_back({Token::Kind::atom, collect(text, at, [](char x) {
                       return !is_space(x) && kSpecials.find(x) == kSpecials.npos;
                     })});
    }
  }
  return out;
}

std::string internal_text(const Tokens& tokens) {
  std::string out;
  const Token* before = nullptr;
  for (const Token& token : tokens) {
    if (before != nullptr && is_word(*before) && is_word(token)) out += ' ';
    out += token.text;
    before = &token;
  }
  return out;
}

std::size_t find_last(const Tokens& tokens, char c) {
  for (std::size_t i = tokens.size(); i-- > 0;) {
    if (tokens[i].is(c)) return i;
  }
  return std::string::npos;
}
std::size_t find_first(const Tokens& tokens, char c) {
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i].is(c)) return i;
  }
  return std::string::npos;
}

void strip_final_dot(Tokens& tokens) {
  if (tokens.size() >= 2 && tokens.back().is('.') && !tokens[tokens.size() - 2].is('.') &&
      !tokens[tokens.size() - 2].is('@'))
    tokens.pop_back();
}

void rewrite_tokens(Tokens& tokens, const RewriteRules& rules) {
  constexpr std::size_t npos = std::string::npos;
  const auto append = [&](std::string_view text) {
    Tokens more = scan_address(text);
    std::move(more.begin(), more.end(), std::back_inserter(tokens));
  };
  if (tokens.empty()) return;
  if (tokens.size() == 1 && tokens[0].kind == Token::Kind::quoted && tokens[0].text.empty()) return;
  // A lone @ is an empty address.
  if (tokens.size() == 1 && tokens[0].is('@')) {
    tokens = {{Token::Kind::quoted, ""}};
    return;
  }
  // Source route: "@a,@b:user@c" (RFC 5321 appendix C says to ignore it).
  if (tokens[0].is('@')) {
    const std::size_t colon = find_first(tokens, ':');
    if (colon != npos && colon + 1 < tokens.size())
      tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(colon) + 1);
  }
  if (find_last(tokens, '@') == npos) {
    const std::size_t bang = find_first(tokens, '!'), percent = find_last(tokens, '%');
    if (rules.swap_bangpath && bang != npos) {
      Tokens swapped(tokens.begin() + static_cast<std::ptrdiff_t>(bang) + 1, tokens.end());
      swapped.push_back({Token::Kind::special, "@"});
      swapped.insert(swapped.end(), tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(bang));
      tokens = std::move(swapped);
    } else if (rules.allow_percent_hack && percent != npos) {
      tokens[percent].text = "@";
    } else if (rules.append_at_myorigin && !rules.myorigin.empty()) {
      tokens.push_back({Token::Kind::special, "@"});
      append(rules.myorigin);
    }
  }
  // "user@" stays broken, so that what is logged is what came in.
  if (const std::size_t at = find_last(tokens, '@');
      rules.append_dot_mydomain && !rules.mydomain.empty() && at != npos && at + 1 < tokens.size()) {
    const bool whole = std::any_of(tokens.begin() + static_cast<std::ptrdiff_t>(at), tokens.end(), [](const Token& t) {
      return t.is('.') || t.kind == Token::Kind::literal;
    });
    if (!whole) {
      tokens.push_back({Token::Kind::special, "."});
      append(rules.mydomain);
    }
  }
  strip_final_dot(tokens);
}

}  // namespace millrace::rewrite
