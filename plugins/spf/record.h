// SPF records as text becomes terms (RFC 7208 sections 4.6.1, 5, 6, 7.1).  Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plugins/spf/address.h"

namespace millrace::spf {

// A macro-string, parsed: literal text and macros.
struct Macro {
  std::string literal;           // before the macro
  char letter = '\0';            // lower case; '\0': no macro follows
  bool url_escape = false;       // the letter was upper case
  unsigned keep = 0;             // rightmost parts; 0: all
  bool reverse = false;
  std::string delimiters = ".";
};
using MacroString = std::vector<Macro>;

enum class MacroUse { domain, explanation };   // c, r and t stand in explanations only; so do spaces
std::optional<MacroString> parse_macro_string(std::string_view text, MacroUse use);

enum class Qualifier { pass, fail, softfail, neutral };
enum class Mechanism { all, include, a, mx, ptr, ip4, ip6, exists };

struct Directive {
  Qualifier qualifier = Qualifier::pass;
  Mechanism mechanism = Mechanism::all;
  std::optional<MacroString> domain;   // none: the current one
  unsigned length4 = 32, length6 = 128;
  Network network;                     // ip4, ip6
  std::string text;                    // as written
};

struct Record {
  std::vector<Directive> directives;
  std::optional<MacroString> redirect, explanation;
};

// Is this TXT record an SPF record ("v=spf1" and a space or nothing)?
bool is_spf_record(std::string_view text);
// A record, or which term is wrong.
std::variant<Record, std::string> parse_record(std::string_view text);

}  // namespace millrace::spf
