// The next-hop syntax of the smtp and lmtp clients (transport(5), smtp(8), lmtp(8)): "dom", "dom:port",
// "[host]:port", "[ip]", "inet:host:port", "unix:path", and comma lists tried in order.  Pure but for
// port names.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::deliver {

struct Target {
  std::string host;            // name or address literal; path when is_unix
  std::uint16_t port = 0;
  bool use_mx = false;
  bool is_unix = false;
};

struct TargetRules {
  bool lmtp = false;           // inet: and unix: are known, MX records are not used
  std::uint16_t default_port = 25;
  bool use_dns = true;         // false (disable_dns_lookups): no MX records
};

// Errors: config, with the offending text.
Result<std::vector<Target>> parse_targets(std::string_view nexthop, const TargetRules& rules);

// Is this an IPv4 or IPv6 address (an "IPv6:" prefix is taken off into `bare`)?
bool is_address_literal(std::string_view text, std::string* bare = nullptr);

}  // namespace millrace::deliver
