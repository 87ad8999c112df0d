// Addresses: see address.h.
#include "plugins/spf/address.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

namespace millrace::spf {
namespace {

constexpr char kHex[] = "0123456789ABCDEF";

std::optional<Address> parse_family(std::string_view text, int family) {
  if (text.size() > 45 || text.find('\0') != text.npos) return {};
  Address out;
  out.is_v6 = family == AF_INET6;
  if (inet_pton(family, std::string(text).c_str(), out.bytes.data()) != 1) return {};
  return out;
}

}  // namespace

bool Address::matches(const Address& network, unsigned length) const {
  if (is_v6 != network.is_v6 || length > bits()) return false;
  const unsigned whole = length / 8, rest = length % 8;
  if (std::memcmp(bytes.data(), network.bytes.data(), whole) != 0) return false;
  return rest == 0 || (bytes[whole] ^ network.bytes[whole]) >> (8 - rest) == 0;
}

std::string Address::to_text() const {
  char text[INET6_ADDRSTRLEN];
  return inet_ntop(is_v6 ? AF_INET6 : AF_INET, bytes.data(), text, sizeof text) == nullptr ? std::string() : std::string(text);
}

std::string Address::dotted() const {
  if (!is_v6) return to_text();
  std::string out;
  for (const std::uint8_t byte : bytes) {
    for (const unsigned half : {byte >> 4, byte & 15}) {
      if (!out.empty()) out += '.';
      out += kHex[half];
    }
  }
  return out;
}

std::string Address::reverse_name() const {
  std::string out;
  if (is_v6) {
    for (std::size_t i = 16; i-- > 0;) {
      for (const unsigned half : {bytes[i] & 15, bytes[i] >> 4}) (out += kHex[half]) += '.';
    }
    return out + "ip6.arpa";
  }
  for (std::size_t i = 4; i-- > 0;) out += std::to_string(bytes[i]) + ".";
  return out + "in-addr.arpa";
}

std::optional<Address> parse_ip4(std::string_view text) { return parse_family(text, AF_INET); }
std::optional<Address> parse_ip6(std::string_view text) { return parse_family(text, AF_INET6); }

std::optional<Address> parse_address(std::string_view text) {
  if (auto v4 = parse_ip4(text)) return v4;
  auto v6 = parse_ip6(text);
  constexpr std::uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  if (!v6 || std::memcmp(v6->bytes.data(), kMapped, 12) != 0) return v6;
  Address v4;
  std::memcpy(v4.bytes.data(), v6->bytes.data() + 12, 4);
  return v4;
}

std::optional<Network> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto written = parse_ip4(text.substr(0, slash)) ? parse_ip4(text.substr(0, slash)) : parse_ip6(text.substr(0, slash));
  if (!written) return {};
  Network out{*parse_address(text.substr(0, slash)), written->bits()};
  if (slash != text.npos) {
    const std::string_view digits = text.substr(slash + 1);
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), out.length);
    if (digits.empty() || error != std::errc() || end != digits.data() + digits.size() || out.length > written->bits()) return {};
  }
  if (written->is_v6 && !out.base.is_v6) {   // "::ffff:127.0.0.0/104" is 127.0.0.0/8
    if (out.length < 96) return {};
    out.length -= 96;
  }
  return out;
}

}  // namespace millrace::spf
