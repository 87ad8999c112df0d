// Addresses on the wire: quoting of local parts and xtext (RFC 5321 section 4.1.2, RFC 3461 section 4).
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::deliver {

// Internal form to what stands between < and >: the local part is quoted when it is no dot-string.
// Bytes that no SMTP line may carry (CR, LF, NUL) are left out.
std::string quote_821(std::string_view internal_address);
std::string xtext_encode(std::string_view text);
// nullopt when it is no xtext.
std::optional<std::string> xtext_decode(std::string_view text);
// RFC 6533 section 3: bytes above 127 and what xtext encodes, as \x{HEX} of the character; "x" stays when it is no UTF-8.
std::string uxtext_encode(std::string_view text);
// An ORCPT value, "type;address", readable: \x{HEX} of type utf-8, else xtext.  "" when it is neither.
std::string decode_orcpt(std::string_view value);
// What follows the last @, lower case; "" when there is none.
std::string domain_of(std::string_view address);

}  // namespace millrace::deliver
