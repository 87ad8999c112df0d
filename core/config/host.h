// The three defaults that depend on the machine: myhostname, mydomain and mynetworks.  What the system
// says is gathered once and passed in, so that the rules can be tested.  No DNS for the names: a dead
// resolver must not stop every command; inet_interfaces may hold names, which are looked up as Postfix does.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.h"

namespace millrace::config {

struct Interface {
  std::string address, mask;   // "192.0.2.1" "255.255.255.0"; "2001:db8::1" "ffff:ffff:ffff:ffff::"
  bool operator==(const Interface&) const = default;
};

struct HostFacts {
  std::string hostname;                // gethostname(2)
  std::vector<Interface> interfaces;   // IPv4 first
  static HostFacts of_system();
};

// `hostname` when it has a dot, else with `mydomain` (or "localdomain" when that is not set).
std::string default_myhostname(const HostFacts& host, std::string_view mydomain);
std::string default_mydomain(std::string_view myhostname);
// The networks of our own interfaces, as mynetworks_style (class, subnet, host) cuts them.
Result<std::string> default_mynetworks(const HostFacts& host, std::string_view style, std::string_view inet_interfaces,
                                       std::string_view inet_protocols);

}  // namespace millrace::config
