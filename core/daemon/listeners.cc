#include "core/daemon/listeners.h"

#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "core/base/strings.h"

namespace millrace::daemon {
namespace {

constexpr int kBacklog = 511;

std::optional<std::uint16_t> parse_port(const std::string& text) {
  if (const auto number = parse_number<std::uint16_t>(text)) return number;
  const servent* entry = getservbyname(text.c_str(), "tcp");
  if (entry == nullptr) return std::nullopt;
  return ntohs(static_cast<std::uint16_t>(entry->s_port));
}

// Addresses of a host name or address literal (brackets allowed), of the protocols wanted.
std::vector<std::string> addresses_of(std::string host, bool ipv4, bool ipv6) {
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  addrinfo hints{}, *list = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_family = ipv4 && ipv6 ? AF_UNSPEC : ipv6 ? AF_INET6 : AF_INET;
  std::vector<std::string> out;
  if (getaddrinfo(host.c_str(), nullptr, &hints, &list) != 0) return out;
  for (const addrinfo* entry = list; entry != nullptr; entry = entry->ai_next) {
    char text[NI_MAXHOST];
    if (getnameinfo(entry->ai_addr, entry->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0 &&
        std::find(out.begin(), out.end(), text) == out.end()) {
      out.emplace_back(text);
    }
  }
  freeaddrinfo(list);
  return out;
}

std::vector<std::string> interface_addresses(const config::Config& config, config::Findings& findings) {
  const config::Params& params = config.params();
  const auto protocols = split(params.inet_protocols, ", \t\r\n");
  const auto wants = [&](std::string_view name) {
    return std::any_of(protocols.begin(), protocols.end(),
                       [&](std::string_view p) { return iequals(p, name) || iequals(p, "all"); });
  };
  const bool ipv4 = wants("ipv4"), ipv6 = wants("ipv6") && ::access("/proc/net/if_inet6", F_OK) == 0;
  std::vector<std::string> out;
  for (const std::string_view word : split(params.inet_interfaces, ", \t\r\n")) {
    if (iequals(word, "all")) {
      if (ipv4) out.emplace_back("0.0.0.0");
      if (ipv6) out.emplace_back("::");
    } else if (iequals(word, "loopback-only")) {
      if (ipv4) out.emplace_back("127.0.0.1");
      if (ipv6) out.emplace_back("::1");
    } else {
      const auto found = addresses_of(std::string(word), ipv4, ipv6);
      if (found.empty()) {
        findings.error(config.where("inet_interfaces"), "inet_interfaces",
                       fmt::format("host not found: {}", word));
      }
      out.insert(out.end(), found.begin(), found.end());
    }
  }
  return out;
}

void plan_inet(const config::Config& config, std::size_t index, std::vector<ListenPlan>& plan,
               config::Findings& findings) {
  const config::Service& service = config.services()[index];
  const std::size_t colon = service.name.rfind(':');
  const std::string port_text = colon == std::string::npos ? service.name : service.name.substr(colon + 1);
  const auto port = parse_port(port_text);
  if (!port) {
    findings.error(service.where, service.name, fmt::format("unknown port: {}", port_text));
    return;
  }
  std::vector<std::string> hosts;
  if (colon == std::string::npos) {
    hosts = interface_addresses(config, findings);
  } else {
    hosts = addresses_of(service.name.substr(0, colon), true, true);
    if (hosts.empty()) findings.error(service.where, service.name, "host not found");
  }
  for (const std::string& host : hosts) plan.push_back({index, {host, *port, false}});
}

}  // namespace

std::vector<ListenPlan> plan_listeners(const config::Config& config, config::Findings& findings, std::string_view command) {
  std::vector<ListenPlan> plan;
  for (std::size_t i = 0; i < config.services().size(); ++i) {
    const config::Service& service = config.services()[i];
    if (service.command != command || service.disabled) continue;
    if (service.type == "inet") {
      plan_inet(config, i, plan, findings);
    } else {
      const std::string path = fmt::format("{}/{}/{}", config.params().queue_directory,
                                           service.is_private ? "private" : "public", service.name);
      plan.push_back({i, {path, 0, true}});
    }
  }
  return plan;
}

Listeners::~Listeners() {
  for (const auto& [name, fd] : sockets_) ::close(fd);
}

Result<void> Listeners::open(const std::vector<ListenPlan>& plan) {
  for (const ListenPlan& wanted : plan) {
    const std::string name = wanted.at.to_text();
    if (sockets_.count(name) != 0) continue;
    const Result<int> fd = wanted.at.is_unix ? net::listen_unix(wanted.at.address, 0666, kBacklog)
                                             : net::listen_tcp(wanted.at, kBacklog);
    if (!fd) return fail("listen on " + name, fd.error());
    sockets_[name] = *fd;
  }
  return {};
}

void Listeners::close_others(const std::vector<ListenPlan>& plan, const std::vector<ListenPlan>& other) {
  for (auto it = sockets_.begin(); it != sockets_.end();) {
    const auto here = [&](const ListenPlan& p) { return p.at.to_text() == it->first; };
    const bool wanted = std::any_of(plan.begin(), plan.end(), here) || std::any_of(other.begin(), other.end(), here);
    if (!wanted) {
      // Children of every generation hold the descriptor too: closing ours alone would leave it listening.
      ::shutdown(it->second, SHUT_RDWR);
      ::close(it->second);
    }
    it = wanted ? std::next(it) : sockets_.erase(it);
  }
}

int Listeners::fd(const net::Endpoint& at) const {
  const auto found = sockets_.find(at.to_text());
  return found == sockets_.end() ? -1 : found->second;
}

}  // namespace millrace::daemon
