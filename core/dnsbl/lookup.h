// What the answers of DNS lists mean, and one address asked of many lists at once.
//
// A list that fails or refuses this resolver is told in the log and is no hit.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/dnsbl/site.h"
#include "core/net/dns.h"

namespace millrace::dnsbl {

enum class Listing {
  listed,
  not_listed,   // also: listed with addresses that the filter passes over
  unknown,      // the look-up failed for the moment
  blocked,      // 127.255.255.x: the list does not serve this resolver (RFC 5782 has no word for it; all large lists do it)
};

struct Finding {
  Listing listing = Listing::not_listed;
  std::vector<std::string> addresses;   // those that count, when listed; of blocked, the answer
  std::uint32_t ttl = 0;                // of the answer, when listed
};

// The answer to an A question, seen through `filter` (nullptr: all addresses count).
Finding judge(const net::DnsAnswer& answer, const Filter* filter);

// The line to warn with, without the "warning: "; "" for listed and not_listed.
std::string trouble(const Finding& finding, std::string_view query, const net::DnsAnswer& answer);

// The texts of a TXT answer as one line: joined with " / " until there are 500 octets or more.
std::string reason(const net::DnsAnswer& texts);

struct Hit {
  const Site* site = nullptr;           // of the list given
  std::vector<std::string> addresses;
};

struct Score {
  int total = 0;                        // sum of the weights of the hits
  std::vector<Hit> hits;                // in the order of the sites
  std::uint32_t ttl = 0;                // the shortest of the hits' answers; 0 without one
  bool complete = true;                 // all lists answered within the deadline
};

// Asks all sites about the address at once and waits for the slowest, or the deadline.  Logs "addr
// 192.0.2.1 listed by domain bl.example as 127.0.0.2" as dnsblog(8) does, and the troubles. [fiber]
Score look_up(net::Resolver& resolver, const std::vector<Site>& sites, std::string_view address, Deadline deadline,
              const log::Logger& log);

}  // namespace millrace::dnsbl
