#include "core/rewrite/own_addresses.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <cstring>

#include "core/base/strings.h"

namespace millrace::rewrite {

namespace {

std::optional<map::Address> from_sockaddr(const sockaddr* address) {
  map::Address out;
  if (address == nullptr) return {};
  if (address->sa_family == AF_INET) {
    out.bits = 32;
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in*>(address)->sin_addr, 4);
  } else if (address->sa_family == AF_INET6) {
    out.bits = 128;
    std::memcpy(out.bytes.data(), &reinterpret_cast<const sockaddr_in6*>(address)->sin6_addr, 16);
  } else {
    return {};
  }
  return out;
}

void add_interfaces(std::vector<map::Address>& out) {
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return;
  for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
    if (const auto address = from_sockaddr(at->ifa_addr)) out.push_back(*address);
  }
  freeifaddrs(list);
}

Result<void> add_host(const std::string& host, std::vector<map::Address>& out) {
  std::string_view bare = host;
  if (bare.size() > 2 && bare.front() == '[' && bare.back() == ']') bare = bare.substr(1, bare.size() - 2);
  if (const auto address = map::parse_address(bare)) {
    out.push_back(*address);
    return {};
  }
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = getaddrinfo(host.c_str(), nullptr, &hints, &list))
    return fail(Errc::config, "host not found: " + printable(host) + ": " + gai_strerror(error));
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (const auto address = from_sockaddr(at->ai_addr)) out.push_back(*address);
  }
  freeaddrinfo(list);
  return {};
}

}  // namespace

Result<OwnAddresses> OwnAddresses::make(std::string_view inet_interfaces, std::string_view proxy_interfaces,
                                        std::string_view inet_protocols) {
  OwnAddresses out;
  for (const auto& [name, value] : {std::pair("inet_interfaces", inet_interfaces),
                                    std::pair("proxy_interfaces", proxy_interfaces)}) {
    for (const std::string_view word : split(value, ", \t\r\n")) {
      if (iequals(word, "all")) {
        add_interfaces(out.addresses_);
      } else if (iequals(word, "loopback-only")) {
        out.addresses_.push_back(*map::parse_address("127.0.0.1"));
        out.addresses_.push_back(*map::parse_address("::1"));
      } else if (auto added = add_host(std::string(word), out.addresses_); !added) {
        return fail(name, added.error());
      }
    }
  }
  const auto protocols = split(inet_protocols, ", \t\r\n");
  const auto spoken = [&](std::string_view protocol) {
    return protocols.empty() || std::any_of(protocols.begin(), protocols.end(), [&](std::string_view word) {
      return iequals(word, "all") || iequals(word, protocol);
    });
  };
  const bool ipv4 = spoken("ipv4"), ipv6 = spoken("ipv6");
  std::erase_if(out.addresses_, [&](const map::Address& a) { return a.bits == 32 ? !ipv4 : !ipv6; });
  return out;
}

bool OwnAddresses::contains(const map::Address& address) const {
  return std::find(addresses_.begin(), addresses_.end(), address) != addresses_.end();
}

bool OwnAddresses::contains_literal(std::string_view domain) const {
  if (domain.size() < 3 || domain.front() != '[' || domain.back() != ']') return false;
  domain = domain.substr(1, domain.size() - 2);
  if (istarts_with(domain, "IPv6:")) domain.remove_prefix(5);
  const auto address = map::parse_address(domain);
  return address && contains(*address);
}

}  // namespace millrace::rewrite
