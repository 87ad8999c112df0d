// Variable envelope return paths (VERP_README): each recipient's copy is sent from an address that names the recipient.
// Pure.
#pragma once

#include <string>
#include <string_view>

namespace millrace::mime {

// "" for two characters of `allowed` (verp_delimiter_filter), else what is wrong with them.
std::string verp_problem(std::string_view delimiters, std::string_view allowed);

// prefix@origin for user@domain, "+=": prefix+user=domain@origin.  `delimiters` are two characters.
std::string verp_sender(std::string_view sender, std::string_view delimiters, std::string_view recipient);

}  // namespace millrace::mime
