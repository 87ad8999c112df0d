// What may stand behind the @: a host name, or an address literal.
#pragma once

#include <string_view>

namespace millrace::rewrite {

// Letters, digits, hyphens, underscores (as Postfix) and UTF-8 (RFC 6531) in labels of 1 to 63 octets, 255 in
// all, no hyphen at a label's ends, not all digits, no final dot.
bool is_valid_hostname(std::string_view name);
// "[192.0.2.1]", "[IPv6:2001:db8::1]" (RFC 5321 section 4.1.3).
bool is_valid_literal(std::string_view text);
// Either.
bool is_valid_domain(std::string_view domain);

}  // namespace millrace::rewrite
