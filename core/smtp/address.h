// Paths of MAIL, RCPT and VRFY: from what the client typed to the internal (unquoted) address.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::smtp {

// "<a@b>", "a@b", "Name <a@b>", "<@relay:a@b>", "<\"x y\"@b>" …; "<>" gives "".  The lenient grammar of
// Postfix: brackets may be missing or doubled, comments are skipped, a source route is cut off, dots may
// stand anywhere.  nullopt: no address, or more than one.  `strict` (strict_rfc821_envelopes) wants
// brackets and nothing but an address in them (RFC 5321 section 4.1.2).  Whether the domain is any good is
// rewrite::Router's question.
std::optional<std::string> parse_path(std::string_view typed, bool strict);

// The path as typed without its outer brackets: what an ORCPT is made of when the client gave none.
std::string_view without_brackets(std::string_view typed);

// Domain syntax as Postfix's valid_hostname(): letters, digits, hyphen and underscore, labels of 1..63
// octets that neither begin nor end with a hyphen, 255 in all, not digits only.  Non-ASCII is let pass
// when `utf8`.
bool is_host_name(std::string_view name, bool utf8 = false);

// "192.0.2.1", or "2001:db8::1" (with and without the prefix "IPv6:" of RFC 5321 section 4.1.3).
bool is_ip_address(std::string_view text);

}  // namespace millrace::smtp
