#include "core/deliver/host_finder.h"

#include <netdb.h>

#include <algorithm>
#include <utility>

#include "core/base/random.h"
#include "core/base/strings.h"
#include "core/net/fiber.h"

namespace millrace::deliver {

namespace {
bool is_ipv6(const Host& host) { return host.endpoint.address.find(':') != std::string::npos; }

std::string dns_trouble(std::string_view name, const char* type, net::DnsStatus status) {
  std::string out = "Host or domain name not found. Name service error for name=" + std::string(name) + " type=" + type;
  switch (status) {
    case net::DnsStatus::no_name: return out + ": Host not found";
    case net::DnsStatus::no_data: return out + ": Host found but no data record of requested type";
    case net::DnsStatus::invalid: return out + ": Malformed or unexpected name server reply";
    default: return out + ": Host not found, try again";
  }
}

class Finder {
 public:
  Finder(const Target& target, const ClientOptions& options, net::Resolver& resolver, Deadline deadline)
      : target_(target), options_(options), resolver_(resolver), deadline_(deadline) {}

  Hosts run() {
    if (target_.is_unix) {
      out_.list.push_back({options_.my_name, {target_.host, 0, true}, 0});
      return std::move(out_);
    }
    if (is_address_literal(target_.host)) {
      add(target_.host, target_.host, 0);
      if (is_self(0)) loop();
      return std::move(out_);
    }
    if (target_.use_mx && options_.use_dns) {
      mail_exchangers();
    } else {
      addresses(target_.host, 0);
      if (first_self() < out_.list.size()) loop();
    }
    arrange();
    return std::move(out_);
  }

 private:
  void problem(std::string dsn, std::string text) {
    out_.dsn = std::move(dsn);
    out_.text = std::move(text);
  }

  void loop() {
    out_.list.clear();
    problem("5.4.6", "mail for " + target_.host + " loops back to myself");
  }

  void mail_exchangers() {
    net::DnsAnswer answer = resolver_.query(target_.host, net::DnsType::mx, deadline_);
    if (answer.status == net::DnsStatus::no_data || answer.status == net::DnsStatus::no_name ||
        (options_.ignore_mx_error && answer.status != net::DnsStatus::ok)) {
      addresses(target_.host, 0);
      if (first_self() < out_.list.size()) loop();
      return;
    }
    if (answer.status != net::DnsStatus::ok) {
      const bool forever = answer.status == net::DnsStatus::invalid;
      return problem(forever ? "5.4.4" : "4.4.3", dns_trouble(target_.host, "MX", answer.status));
    }
    std::stable_sort(answer.records.begin(), answer.records.end(),
                     [](const net::DnsRecord& a, const net::DnsRecord& b) { return a.preference < b.preference; });
    if (answer.records.size() == 1 && (answer.records[0].value.empty() || answer.records[0].value == ".")) {
      return problem("5.1.0", "Domain " + target_.host + " does not accept mail (nullMX)");   // RFC 7505
    }
    for (const net::DnsRecord& record : answer.records) {
      if (options_.use_ipv4) resolver_.prefetch(record.value, net::DnsType::a);
      if (options_.use_ipv6) resolver_.prefetch(record.value, net::DnsType::aaaa);
    }
    for (const net::DnsRecord& record : answer.records) {
      if (record.value.empty() || record.value == ".") continue;
      addresses(record.value, record.preference);
    }
    if (out_.list.empty()) {
      // An MX record whose hosts do not exist: Postfix bounces unless told to wait.
      if (options_.defer_without_mx_address && !out_.dsn.empty()) out_.dsn[0] = '4';
      return;
    }
    // Only exchangers better than ourselves may have the mail (RFC 5321 section 5.1).
    const std::size_t self = first_self();
    if (self == out_.list.size()) return;
    const unsigned preference = out_.list[self].preference;
    std::erase_if(out_.list, [&](const Host& host) { return host.preference >= preference; });
    if (!out_.list.empty()) return;
    // A better exchanger has a name without an address: we are not the best one.
    if (preference == answer.records.front().preference) return loop();
    problem("4.4.4", "unable to find primary relay for " + target_.host);
  }

  bool is_self(std::size_t index) const {
    // Another port is another server on this machine, a content filter say.
    if (options_.lmtp || out_.list[index].endpoint.port != 25) return false;
    const std::string& address = out_.list[index].endpoint.address;
    return std::find(options_.own_addresses.begin(), options_.own_addresses.end(), address) !=
           options_.own_addresses.end();
  }

  std::size_t first_self() const {
    std::size_t i = 0;
    while (i < out_.list.size() && !is_self(i)) ++i;
    return i;
  }

  void add(const std::string& name, const std::string& address, unsigned preference) {
    for (const Host& host : out_.list) {
      if (host.endpoint.address == address) return;
    }
    out_.list.push_back({name, {address, target_.port, false}, preference});
  }

  void addresses(const std::string& name, unsigned preference) {
    if (is_address_literal(name)) return add(name, name, preference);   // an MX that names an address
    bool found = false, temporary = false;
    net::DnsStatus last = net::DnsStatus::no_name;
    const char* type = options_.use_ipv6 ? "AAAA" : "A";
    if (options_.use_dns) {
      for (const net::DnsType which : {net::DnsType::a, net::DnsType::aaaa}) {
        if (which == net::DnsType::a ? !options_.use_ipv4 : !options_.use_ipv6) continue;
        const net::DnsAnswer answer = resolver_.query(name, which, deadline_);
        for (const net::DnsRecord& record : answer.records) {
          add(name, record.value, preference);
          found = true;
        }
        if (answer.status == net::DnsStatus::temporary || answer.status == net::DnsStatus::bogus) temporary = true;
        if (answer.status != net::DnsStatus::ok) last = answer.status;
      }
    }
    if (!found && !temporary && options_.use_native) found = native(name, preference, temporary);
    if (found) return;
    if (temporary) {
      problem("4.4.3", dns_trouble(name, type, net::DnsStatus::temporary));
    } else if (out_.dsn.empty() || out_.dsn[0] != '4') {   // a host that may come back outweighs one that is not
      problem("5.4.4", dns_trouble(name, type, last));
    }
  }

  bool native(const std::string& name, unsigned preference, bool& temporary) {
    addrinfo hints{};
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_family = !options_.use_ipv6 ? AF_INET : !options_.use_ipv4 ? AF_INET6 : AF_UNSPEC;
    addrinfo* list = nullptr;
    const int error = net::offload([&] { return getaddrinfo(name.c_str(), nullptr, &hints, &list); });
    temporary = error == EAI_AGAIN;
    if (error != 0) return false;
    for (const addrinfo* one = list; one != nullptr; one = one->ai_next) {
      char text[NI_MAXHOST] = "";
      if (getnameinfo(one->ai_addr, one->ai_addrlen, text, sizeof text, nullptr, 0, NI_NUMERICHOST) == 0) {
        add(name, text, preference);
      }
    }
    freeaddrinfo(list);
    return !out_.list.empty();
  }

  void arrange() {
    auto& list = out_.list;
    if (options_.randomize) {
      for (std::size_t i = list.size(); i > 1; --i) std::swap(list[i - 1], list[random_below(i)]);
    }
    const auto rank = [&](const Host& host) {
      if (options_.prefer == ClientOptions::Prefer::any) return 0;
      return is_ipv6(host) == (options_.prefer == ClientOptions::Prefer::ipv6) ? 0 : 1;
    };
    std::stable_sort(list.begin(), list.end(), [&](const Host& a, const Host& b) {
      return std::pair(a.preference, rank(a)) < std::pair(b.preference, rank(b));
    });
    const std::size_t limit = options_.address_limit;
    if (limit == 0 || list.size() <= limit) return;
    if (options_.balance_protocols && limit > 1) balance(limit);
    list.resize(limit);
  }

  // Both protocols get a place among the first `limit`, or one whose network is down takes them all.
  void balance(std::size_t limit) {
    auto& list = out_.list;
    for (const bool six : {false, true}) {
      const auto is = [&](const Host& host) { return is_ipv6(host) == six; };
      const auto end = list.begin() + static_cast<std::ptrdiff_t>(limit);
      if (std::any_of(list.begin(), end, is)) continue;
      const auto other = std::find_if(end, list.end(), is);
      if (other != list.end()) std::rotate(end - 1, other, other + 1);
    }
  }

  const Target& target_;
  const ClientOptions& options_;
  net::Resolver& resolver_;
  Deadline deadline_;
  Hosts out_;
};
}  // namespace

std::string Host::named() const { return name + "[" + endpoint.address + "]"; }

std::string Host::named_with_port() const {
  return endpoint.is_unix ? named() : named() + ":" + std::to_string(endpoint.port);
}

Hosts find_hosts(const Target& target, const ClientOptions& options, net::Resolver& resolver, Deadline deadline) {
  return Finder(target, options, resolver, deadline).run();
}

}  // namespace millrace::deliver
