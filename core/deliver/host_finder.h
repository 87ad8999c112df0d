// From a next-hop target to the addresses to try, in Postfix's order: MX by preference, equal ones
// shuffled, IPv4 and IPv6 balanced, never ourselves (RFC 5321 section 5.1, RFC 7505, smtp(8)).
#pragma once

#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/deliver/client_options.h"
#include "core/deliver/target.h"
#include "core/net/dns.h"
#include "core/net/stream.h"

namespace millrace::deliver {

struct Host {
  std::string name;          // "mx.example"; for a unix socket our own name
  net::Endpoint endpoint;
  unsigned preference = 0;
  std::string named() const;             // "mx.example[192.0.2.1]"
  std::string named_with_port() const;   // "mx.example[192.0.2.1]:25"
};

struct Hosts {
  std::vector<Host> list;    // empty: dsn and text say why
  std::string dsn, text;
};

// Suspends for DNS. [fiber]
Hosts find_hosts(const Target& target, const ClientOptions& options, net::Resolver& resolver, Deadline deadline);

}  // namespace millrace::deliver
