// The addresses of this host, as inet_interfaces, proxy_interfaces and inet_protocols define them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"
#include "core/map/network.h"

namespace millrace::rewrite {

class OwnAddresses {
 public:
  // Asks the system for its interfaces ("all", "loopback-only") and its resolver for names: start-up only.
  // Errors: config, a name without addresses.
  static Result<OwnAddresses> make(std::string_view inet_interfaces, std::string_view proxy_interfaces,
                                   std::string_view inet_protocols);
  bool contains(const map::Address& address) const;
  // "[192.0.2.1]", "[IPv6:::1]"
  bool contains_literal(std::string_view domain) const;

 private:
  std::vector<map::Address> addresses_;
};

}  // namespace millrace::rewrite
