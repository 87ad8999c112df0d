#include "core/net/tls_policy.h"

#include <charconv>
#include <iterator>

#include "core/base/strings.h"

namespace millrace::net {
namespace {

constexpr std::string_view kSeparators = ", \t\r\n:";
constexpr unsigned kAllVersions = (1u << std::size(kTlsVersionNames)) - 1;

int version_index(std::string_view name) {
  for (std::size_t i = 0; i < std::size(kTlsVersionNames); ++i) {
    if (iequals(name, kTlsVersionNames[i])) return static_cast<int>(i);
  }
  return -1;
}

// A name, or the number that goes on the wire.
std::optional<int> wire_version(std::string_view text) {
  if (const int index = version_index(text); index >= 0) return index == 0 ? 2 : 0x02FF + index;
  int value = 0;
  const bool hex = istarts_with(text, "0x");
  if (hex) text.remove_prefix(2);
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, hex ? 16 : 10);
  if (text.empty() || error != std::errc() || end != text.data() + text.size()) return {};
  if (value < 0 || value > 0xFFFF) return {};
  return value;
}

}  // namespace

std::optional<TlsVersions> parse_tls_versions(std::string_view text) {
  TlsVersions out;
  unsigned included = 0;
  for (std::string_view word : split(text, kSeparators)) {
    if (word.starts_with(">=") || word.starts_with("<=")) {
      const auto bound = wire_version(word.substr(2));
      if (!bound) return {};
      (word[0] == '>' ? out.least : out.most) = *bound;
      continue;
    }
    const bool exclude = word[0] == '!';
    if (exclude) word.remove_prefix(1);
    const int index = version_index(word);
    if (index < 0) return {};
    (exclude ? out.excluded : included) |= 1u << index;
  }
  if (included != 0) out.excluded |= kAllVersions & ~included;
  return out;
}

std::optional<std::string> tls_cipher_list(std::string_view grade, std::string_view exclude) {
  struct Grade {
    std::string_view name, ciphers;
  };
  // The defaults of tls_*_cipherlist; anonymous ciphers first, so that a peer without a certificate
  // works.
  static constexpr Grade kGrades[] = {
      {"export", "aNULL:-aNULL:HIGH:MEDIUM:LOW:EXPORT:+RC4:@STRENGTH"},
      {"low", "aNULL:-aNULL:HIGH:MEDIUM:LOW:+RC4:@STRENGTH"},
      {"medium", "aNULL:-aNULL:HIGH:MEDIUM:+RC4:@STRENGTH"},
      {"high", "aNULL:-aNULL:HIGH:@STRENGTH"},
      {"null", "eNULL:!aNULL"},
  };
  for (const Grade& known : kGrades) {
    if (!iequals(grade, known.name)) continue;
    std::string out(known.ciphers);
    for (const std::string_view word : split(exclude, kSeparators)) {
      if (std::string_view("!+-@").find(word[0]) != std::string_view::npos) return {};
      out += ":!";
      out += word;
    }
    return out;
  }
  return {};
}

}  // namespace millrace::net
