// The author of a message: the first mailbox of its From field (RFC 5322 section 3.4).  Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::dkim {

struct Author {
  std::string local, domain;   // the domain in lower case
  std::string address() const { return local + "@" + domain; }
};

// `value`: what stands after "From:", folded or not.  Comments and quoted strings are looked through, groups too.
// nullopt: there is no address in it, or its domain is none.
std::optional<Author> parse_author(std::string_view value);

}  // namespace millrace::dkim
