// opendkim's KeyTable and SigningTable (opendkim.conf(5)), as texts.  Pure.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "plugins/dkim/author.h"

namespace millrace::dkim {

struct KeyEntry {
  std::string domain, selector, path;   // domain "%": the author's
};
using KeyTable = std::map<std::string, KeyEntry>;
// "NAME DOMAIN:SELECTOR:/PATH" in each line; or what is wrong, with its line number.
std::variant<KeyTable, std::string> parse_key_table(std::string_view text);

struct SigningEntry {
  std::string pattern;    // lower case
  std::string key;        // of the KeyTable; "%": named as the author's domain
  std::string identity;   // i=, "%" for the author's domain; or ""
};
class SigningTable {
 public:
  // `wildcards`: patterns with "*", in the file's order (opendkim's refile:).  Else addresses and domains, looked
  // for as opendkim does: user@host, host, user@.domain and .domain of each parent, user@*, *.
  static std::variant<SigningTable, std::string> parse(std::string_view text, bool wildcards);
  // All that match, the one that counts first.
  std::vector<const SigningEntry*> find(const Author& author) const;
  const std::vector<SigningEntry>& entries() const { return entries_; }

 private:
  bool wildcards_ = false;
  std::vector<SigningEntry> entries_;
  std::multimap<std::string, std::size_t> exact_;
};

// "*" is any text.  Its time is at most the product of the lengths.
bool matches_wildcard(std::string_view pattern, std::string_view text);

}  // namespace millrace::dkim
