#include "core/tools/alias_source.h"

#include <vector>

#include "core/base/strings.h"
#include "core/map/text.h"

namespace millrace::tools {
namespace {

// The words of RFC 822 as they stand, quotes and comments included; blanks between them are gone.
struct Token {
  enum class Kind { word, quoted, comment, special } kind;
  std::string text;
  bool is(char c) const { return kind == Kind::special && text[0] == c; }
};

std::vector<Token> scan(std::string_view text) {
  constexpr std::string_view kSpecials = "()<>@,;:\\\".[]";
  std::vector<Token> out;
  std::size_t at = 0;
  // Up to the closing character, backslashes and (in comments) nesting observed; an unclosed one ends with the line.
  const auto enclosed = [&](char open, char close) {
    const std::size_t from = at++;
    for (int depth = 1; at < text.size() && depth > 0; ++at) {
      if (text[at] == '\\' && at + 1 < text.size()) ++at;
      else if (text[at] == close) --depth;
      else if (text[at] == open) ++depth;
    }
    return std::string(text.substr(from, at - from));
  };
  while (at < text.size()) {
    const char c = text[at];
    if (is_space(c)) {
      ++at;
    } else if (c == '"') {
      const std::size_t from = at++;
      while (at < text.size() && text[at] != '"') at += text[at] == '\\' && at + 1 < text.size() ? 2 : 1;
      if (at < text.size()) ++at;
      out.push_back({Token::Kind::quoted, std::string(text.substr(from, at - from))});
    } else if (c == '(') {
      out.push_back({Token::Kind::comment, enclosed('(', ')')});
    } else if (c == '[') {
      out.push_back({Token::Kind::word, enclosed('[', ']')});
    } else if (kSpecials.find(c) != kSpecials.npos || c == '|') {   // a command's mark, at the start of a word
      out.push_back({Token::Kind::special, std::string(1, c)});
      ++at;
    } else {
      const std::size_t from = at;
      while (at < text.size() && !is_space(text[at]) && kSpecials.find(text[at]) == kSpecials.npos) ++at;
      out.push_back({Token::Kind::word, std::string(text.substr(from, at - from))});
    }
  }
  return out;
}

std::string unquoted(const std::string& quoted) {
  std::string out;
  for (std::size_t i = 1; i < quoted.size(); ++i) {
    if (quoted[i] == '"') break;
    if (quoted[i] == '\\' && i + 1 < quoted.size()) ++i;
    out += quoted[i];
  }
  return out;
}

// Blanks where two words would become one, and after a comma.
std::string joined(const std::vector<Token>& tokens, bool internal) {
  std::string out;
  for (std::size_t i = 0; i < tokens.size(); ++i) {
    const bool word = tokens[i].kind != Token::Kind::special;
    const bool after_word = i > 0 && tokens[i - 1].kind != Token::Kind::special;
    if (i > 0 && (tokens[i - 1].is(',') || ((word || tokens[i].is('<')) && after_word))) out += ' ';
    out += internal && tokens[i].kind == Token::Kind::quoted ? unquoted(tokens[i].text) : tokens[i].text;
  }
  return out;
}

}  // namespace

map::Entries parse_aliases(std::string_view text, const std::string& name, const map::BuildOptions& options) {
  map::Entries out;
  map::LineReader reader(text);
  while (reader.next()) {
    map::BuildOptions here = options;
    here.warn = [&](const std::string& what) {
      if (options.warn) options.warn(name + ", line " + std::to_string(reader.number()) + ": " + what);
    };
    const std::string& line = reader.line();
    if (is_space(line[0])) {
      here.warn("logical line must not start with whitespace -- ignoring this line");
      continue;
    }
    if (options.utf8 && !is_valid_utf8(line)) {
      here.warn("non-UTF-8 input \"" + printable(line) + "\" -- ignoring this line");
      continue;
    }
    std::vector<Token> key = scan(line), value;
    for (std::size_t i = 0; i < key.size(); ++i) {
      if (!key[i].is(':')) continue;
      value.assign(key.begin() + static_cast<long>(i) + 1, key.end());
      key.resize(i);
      break;
    }
    if (key.empty() || value.empty()) {
      here.warn("need name:value pair");
      continue;
    }
    bool local = true;
    for (const Token& token : key) local = local && !token.is('@');
    if (!local) {
      here.warn("name must be local");
      continue;
    }
    const std::string left = joined(key, true);
    map::add_entry(out, options.fold ? lower(left) : left, joined(value, false), here);
  }
  return out;
}

}  // namespace millrace::tools
