// IP addresses and networks in the spelling that Postfix takes: no short IPv4 forms, no leading zeros, no
// zone ids, host bits zero.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.h"

namespace millrace::map {

struct Address {
  int bits = 0;                          // 32 or 128
  std::array<std::uint8_t, 16> bytes{};  // the first bits / 8 count
  bool operator==(const Address&) const = default;
};

std::optional<Address> parse_address(std::string_view text);
std::string to_text(const Address& address);

struct Network {
  Address base;
  int prefix = 0;
  bool contains(const Address& address) const;
};

// "192.0.2.0/24", "192.0.2.1", "2001:db8::/32", "[2001:db8::]/32", "[::1]".  Errors: protocol, the text as
// in Postfix's warnings.
Result<Network> parse_network(std::string_view text);

}  // namespace millrace::map
