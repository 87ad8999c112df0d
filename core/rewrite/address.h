// An address as the tokens of RFC 822, and Postfix's rewriting steps over them.  Pure; linear in the address.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace millrace::rewrite {

struct Token {
  enum class Kind { atom, quoted, literal, special } kind;
  std::string text;   // literal: with its brackets; quoted: without quotes and escapes
  bool is(char c) const { return kind == Kind::special && text[0] == c; }
};
using Tokens = std::vector<Token>;

// Never fails: an unfinished quote or bracket ends with the text.  Comments are left out.
Tokens scan_address(std::string_view text);
// Back to one string, without quotes; neighbouring words are separated by a space.
std::string internal_text(const Tokens& tokens);

// Index of the last / first special `c`; npos when there is none.
std::size_t find_last(const Tokens& tokens, char c);
std::size_t find_first(const Tokens& tokens, char c);

struct RewriteRules {
  bool append_at_myorigin = true, append_dot_mydomain = false, swap_bangpath = true, allow_percent_hack = true;
  std::string myorigin, mydomain;
};
void rewrite_tokens(Tokens& tokens, const RewriteRules& rules);

// Takes one dot off the end of user@domain. , but not from "..", "@." or what has no domain.
void strip_final_dot(Tokens& tokens);

}  // namespace millrace::rewrite
