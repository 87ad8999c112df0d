// IP addresses as SPF compares and prints them.  An IPv4-mapped IPv6 address is the IPv4 address (RFC 7208 section 5).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace millrace::spf {

struct Address {
  bool is_v6 = false;
  std::array<std::uint8_t, 16> bytes{};   // the first 4 for IPv4

  unsigned bits() const { return is_v6 ? 128 : 32; }
  // Same family, and the first `length` bits are the same.
  bool matches(const Address& network, unsigned length) const;
  std::string to_text() const;      // "192.0.2.1", "2001:db8::1"
  std::string dotted() const;       // the "i" macro: "192.0.2.1", "2.0.0.1.0.D.B.8. …"
  std::string reverse_name() const; // for PTR
  bool operator==(const Address&) const = default;
};

std::optional<Address> parse_address(std::string_view text);
// Of one family only, in the forms of RFC 7208's grammar.
std::optional<Address> parse_ip4(std::string_view text);
std::optional<Address> parse_ip6(std::string_view text);

struct Network {
  Address base;
  unsigned length = 0;
};
// "192.0.2.0/24", "2001:db8::/32", or an address alone.
std::optional<Network> parse_network(std::string_view text);

}  // namespace millrace::spf
