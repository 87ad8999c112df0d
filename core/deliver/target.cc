#include "core/deliver/target.h"

#include <arpa/inet.h>
#include <netdb.h>

#include <optional>

#include "core/base/strings.h"

namespace millrace::deliver {

namespace {
std::optional<std::uint16_t> parse_port(const std::string& text) {
  if (const auto number = parse_number<std::uint16_t>(text)) {
    return *number == 0 ? std::nullopt : std::optional<std::uint16_t>(*number);
  }
  const servent* service = getservbyname(text.c_str(), "tcp");
  if (service != nullptr) return ntohs(static_cast<std::uint16_t>(service->s_port));
  if (text == "smtp") return std::uint16_t{25};   // systems without /etc/services
  return {};
}

Result<Target> parse_one(std::string_view text, const TargetRules& rules) {
  const std::string whole(text);
  const auto bad = [&] { return fail(Errc::config, "bad next-hop destination: " + whole); };
  Target out;
  out.port = rules.default_port;
  out.use_mx = !rules.lmtp && rules.use_dns;
  if (rules.lmtp && istarts_with(text, "unix:")) {
    out.host = text.substr(5);
    out.is_unix = true;
    out.use_mx = false;
    return out.host.empty() ? Result<Target>(bad()) : out;
  }
  if (rules.lmtp && istarts_with(text, "inet:")) text.remove_prefix(5);
  std::string_view port;
  bool port_given = false;
  if (!text.empty() && text[0] == '[') {
    const std::size_t close = text.find(']');
    if (close == text.npos) return bad();
    out.host = text.substr(1, close - 1);
    out.use_mx = false;
    text.remove_prefix(close + 1);
    if (!text.empty()) {
      if (text[0] != ':') return bad();
      port = text.substr(1);
      port_given = true;
    }
  } else {
    const std::size_t colon = text.rfind(':');
    out.host = text.substr(0, colon);
    if (colon != text.npos) {
      port = text.substr(colon + 1);
      port_given = true;
    }
  }
  if (port_given) {
    const auto number = parse_port(std::string(port));
    if (!number) return bad();
    out.port = *number;
  }
  if (out.host.empty()) return bad();
  if (is_address_literal(out.host, &out.host)) out.use_mx = false;
  return out;
}
}  // namespace

bool is_address_literal(std::string_view text, std::string* bare) {
  std::string address(istarts_with(text, "ipv6:") ? text.substr(5) : text);
  unsigned char buffer[16];
  const bool is = inet_pton(AF_INET, address.c_str(), buffer) == 1 || inet_pton(AF_INET6, address.c_str(), buffer) == 1;
  if (is && bare != nullptr) *bare = std::move(address);
  return is;
}

Result<std::vector<Target>> parse_targets(std::string_view nexthop, const TargetRules& rules) {
  std::vector<Target> out;
  for (const std::string_view word : split(nexthop, ", \t\r\n")) {
    auto one = parse_one(word, rules);
    if (!one) return tl::unexpected(one.error());
    out.push_back(std::move(*one));
  }
  if (out.empty()) return fail(Errc::config, "bad next-hop destination: " + std::string(nexthop));
  return out;
}

}  // namespace millrace::deliver
