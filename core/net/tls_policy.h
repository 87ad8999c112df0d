// Inside of core/net: Postfix's words for TLS versions and cipher grades.  Pure.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace millrace::net {

// As smtpd_tls_protocols: ">=TLSv1.2", "<=0x0303", "!SSLv2, !SSLv3", "TLSv1.2 TLSv1.3".
struct TlsVersions {
  int least = 0, most = 0;  // wire versions (0x0303), 0: no bound
  unsigned excluded = 0;    // bits of kTlsVersions, by position
};
inline constexpr const char* kTlsVersionNames[] = {"SSLv2",   "SSLv3",   "TLSv1",
                                                   "TLSv1.1", "TLSv1.2", "TLSv1.3"};
std::optional<TlsVersions> parse_tls_versions(std::string_view text);

// OpenSSL's cipher list for a grade ("medium") without those excluded; nullopt: no such grade.
std::optional<std::string> tls_cipher_list(std::string_view grade, std::string_view exclude);

}  // namespace millrace::net
