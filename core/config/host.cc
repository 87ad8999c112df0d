#include "core/config/host.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netdb.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <optional>

#include "core/base/strings.h"

namespace millrace::config {
namespace {

constexpr std::string_view kDefaultDomain = "localdomain";

struct Address {
  int family = 0;
  std::array<unsigned char, 16> bytes{};
  std::size_t size() const { return family == AF_INET ? 4 : 16; }
  bool operator==(const Address&) const = default;

  std::string text() const {
    char out[INET6_ADDRSTRLEN] = "";
    inet_ntop(family, bytes.data(), out, sizeof out);
    return out;
  }
};

std::optional<Address> parse_address(const std::string& text) {
  Address out;
  for (const int family : {AF_INET, AF_INET6}) {
    out.family = family;
    if (inet_pton(family, text.c_str(), out.bytes.data()) == 1) return out;
  }
  return {};
}

Address from_sockaddr(const sockaddr* from) {
  Address out;
  out.family = from->sa_family;
  const void* bytes = from->sa_family == AF_INET
                          ? static_cast<const void*>(&reinterpret_cast<const sockaddr_in*>(from)->sin_addr)
                          : static_cast<const void*>(&reinterpret_cast<const sockaddr_in6*>(from)->sin6_addr);
  std::copy_n(static_cast<const unsigned char*>(bytes), out.size(), out.bytes.begin());
  return out;
}

bool is_loopback(const Address& address) {
  if (address.family == AF_INET) return address.bytes[0] == 127;
  return address == *parse_address("::1");
}

std::vector<Address> look_up(const std::string& host) {
  std::vector<Address> out;
  if (const auto numeric = parse_address(host)) return {*numeric};
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return out;
  for (const addrinfo* at = list; at != nullptr; at = at->ai_next) {
    if (at->ai_family == AF_INET || at->ai_family == AF_INET6) out.push_back(from_sockaddr(at->ai_addr));
  }
  freeaddrinfo(list);
  return out;
}

int mask_bits(const Address& mask) {
  int bits = 0;
  for (std::size_t i = 0; i < mask.size(); ++i) {
    for (int b = 7; b >= 0; --b) {
      if ((mask.bytes[i] >> b & 1) == 0) return bits;
      ++bits;
    }
  }
  return bits;
}

std::string network(const Address& address, int bits) {
  Address out = address;
  for (int i = 0; i < static_cast<int>(out.size()); ++i) {
    const int keep = std::clamp(bits - i * 8, 0, 8);
    out.bytes[static_cast<std::size_t>(i)] &= static_cast<unsigned char>(0xff00 >> keep);
  }
  return out.family == AF_INET ? fmt::format("{}/{}", out.text(), bits) : fmt::format("[{}]/{}", out.text(), bits);
}

// The network of the old address classes A to D.
int class_bits(const Address& address) {
  const unsigned char first = address.bytes[0];
  return first < 128 ? 8 : first < 192 ? 16 : first < 224 ? 24 : 4;
}

}  // namespace

HostFacts HostFacts::of_system() {
  HostFacts out;
  char name[256] = "";
  if (gethostname(name, sizeof name - 1) == 0) out.hostname = name;
  ifaddrs* list = nullptr;
  if (getifaddrs(&list) != 0) return out;
  for (const int family : {AF_INET, AF_INET6}) {
    for (const ifaddrs* at = list; at != nullptr; at = at->ifa_next) {
      if (at->ifa_addr == nullptr || at->ifa_netmask == nullptr || at->ifa_addr->sa_family != family ||
          (at->ifa_flags & IFF_UP) == 0) {
        continue;
      }
      // The mask's own family field is not set by every kernel interface.
      Address mask = from_sockaddr(at->ifa_addr);
      sockaddr_storage copy{};
      std::copy_n(reinterpret_cast<const char*>(at->ifa_netmask),
                  family == AF_INET ? sizeof(sockaddr_in) : sizeof(sockaddr_in6), reinterpret_cast<char*>(&copy));
      copy.ss_family = static_cast<sa_family_t>(family);
      mask = from_sockaddr(reinterpret_cast<const sockaddr*>(&copy));
      out.interfaces.push_back({from_sockaddr(at->ifa_addr).text(), mask.text()});
    }
  }
  freeifaddrs(list);
  return out;
}

std::string default_myhostname(const HostFacts& host, std::string_view mydomain) {
  if (host.hostname.find('.') != std::string::npos) return host.hostname;
  return fmt::format("{}.{}", host.hostname.empty() ? "localhost" : host.hostname,
                     mydomain.empty() ? kDefaultDomain : mydomain);
}

std::string default_mydomain(std::string_view myhostname) {
  const std::size_t dot = myhostname.find('.');
  return std::string(dot == std::string_view::npos ? kDefaultDomain : myhostname.substr(dot + 1));
}

Result<std::string> default_mynetworks(const HostFacts& host, std::string_view style, std::string_view inet_interfaces,
                                       std::string_view inet_protocols) {
  if (style != "class" && style != "subnet" && style != "host") {
    return fail(Errc::config, fmt::format("bad mynetworks_style: {}; class, subnet or host expected", style));
  }
  const auto protocols = split(inet_protocols, ", \t\r\n");
  const auto wants = [&protocols](int family) {
    return std::any_of(protocols.begin(), protocols.end(), [family](std::string_view word) {
      return iequals(word, "all") || iequals(word, family == AF_INET ? "ipv4" : "ipv6");
    });
  };
  std::vector<Address> own, masks;
  for (const Interface& interface : host.interfaces) {
    const auto address = parse_address(interface.address), mask = parse_address(interface.mask);
    if (!address || !mask || !wants(address->family)) continue;
    own.push_back(*address);
    masks.push_back(*mask);
  }
  std::vector<std::size_t> chosen;
  const std::string_view all = trim(inet_interfaces);
  for (const std::string_view word : split(inet_interfaces, ", \t\r\n")) {
    if (iequals(all, "all") || iequals(all, "loopback-only")) {
      for (std::size_t i = 0; i < own.size(); ++i) {
        if (iequals(all, "all") || is_loopback(own[i])) chosen.push_back(i);
      }
      continue;
    }
    std::string name(word);
    if (name.size() > 2 && name.front() == '[' && name.back() == ']') name = name.substr(1, name.size() - 2);
    const auto addresses = look_up(name);
    if (addresses.empty()) return fail(Errc::config, fmt::format("inet_interfaces: host not found: {}", word));
    for (const Address& address : addresses) {
      if (!wants(address.family)) continue;
      const auto at = std::find(own.begin(), own.end(), address);
      if (at == own.end()) {
        return fail(Errc::config, fmt::format("inet_interfaces: no local interface found for {}", address.text()));
      }
      chosen.push_back(static_cast<std::size_t>(at - own.begin()));
    }
  }
  std::vector<std::string> out;
  for (const std::size_t i : chosen) {
    int bits = static_cast<int>(own[i].size()) * 8;
    if (style == "class" && own[i].family == AF_INET) {
      bits = class_bits(own[i]);
    } else if (style != "host") {
      bits = mask_bits(masks[i]);
    }
    std::string text = network(own[i], bits);
    if (std::find(out.begin(), out.end(), text) == out.end()) out.push_back(std::move(text));
  }
  return fmt::format("{}", fmt::join(out, " "));
}

}  // namespace millrace::config
