// `millrace dkim genkey -d DOMAIN -s SELECTOR [-b BITS | --ed25519] [-D DIR]`: a signing key, and its DNS record.
#pragma once

#include <string>
#include <string_view>

namespace millrace::tools {

// Writes DIR/SELECTOR.private (mode 0600, never over a file that is there) and prints the record.
// Exit status: 0 done, 1 not, 2 usage.
int dkim_main(int argc, char** argv, const std::string& config_directory);

// The record as a zone file takes it: SELECTOR._domainkey.DOMAIN. IN TXT ( "…" … ), no string longer than the 255
// octets that DNS has room for (RFC 1035 section 3.3.14).  Pure.
std::string zone_text(std::string_view domain, std::string_view selector, std::string_view record);

}  // namespace millrace::tools
