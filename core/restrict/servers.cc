// Words about the servers of a domain: access tables asked about its name servers, mail exchangers and
// addresses, and permit_mx_backup.
#include <algorithm>

#include "core/base/strings.h"
#include "core/map/network.h"
#include "core/restrict/run.h"
#include "core/smtp/address.h"

namespace millrace::restrict {

using net::DnsStatus;
using net::DnsType;

namespace {

constexpr std::size_t kMostAddresses = 100;   // asked of one table for one domain, as in Postfix 3.9

std::string_view domain_part(std::string_view name) {
  const std::size_t at = name.rfind('@');
  return at == std::string_view::npos ? name : name.substr(at + 1);
}

bool is_missing(DnsStatus status) { return status == DnsStatus::no_name || status == DnsStatus::no_data; }

DnsType server_type(std::string_view word) {
  return word.find("_ns_") != word.npos ? DnsType::ns : word.find("_mx_") != word.npos ? DnsType::mx : DnsType::a;
}

}  // namespace

bool is_null_mx(const net::DnsAnswer& answer) {
  return answer.status == DnsStatus::ok &&
         std::any_of(answer.records.begin(), answer.records.end(),
                     [](const net::DnsRecord& record) { return record.value.empty() || record.value == "."; });
}

void Run::start_addresses(std::string_view host) {
  if (smtp::is_ip_address(host) || !net::hosts_file_addresses(host).empty()) return;
  if (rules_.ipv4) start(host, DnsType::a);
  if (rules_.ipv6) start(host, DnsType::aaaa);
}

Run::HostAddresses Run::addresses_of(const std::string& host) {
  HostAddresses out;
  if (smtp::is_ip_address(host)) {
    out.status = DnsStatus::ok;
    out.addresses.push_back(host);
    return out;
  }
  for (std::string& address : net::hosts_file_addresses(host)) {
    if (address.find(':') == std::string::npos ? rules_.ipv4 : rules_.ipv6) out.addresses.push_back(std::move(address));
  }
  if (out.addresses.empty()) {
    start_addresses(host);
    for (const DnsType type : {DnsType::a, DnsType::aaaa}) {
      if (!(type == DnsType::a ? rules_.ipv4 : rules_.ipv6)) continue;
      const net::DnsAnswer answer = ask(host, type);
      if (answer.status == DnsStatus::ok) {
        for (const net::DnsRecord& record : answer.records) out.addresses.push_back(record.value);
      } else if (answer.status == DnsStatus::no_data ? out.status == DnsStatus::no_name : !is_missing(answer.status)) {
        out.status = answer.status;
      }
    }
  }
  if (!out.addresses.empty()) out.status = DnsStatus::ok;
  return out;
}

// The name that check_{client,…}_{ns,mx,a}_access is about; empty: nothing to ask.
Run::Subject Run::server_subject(std::string_view word, std::string& name) const {
  const auto host = [](const std::string& text) { return text == "unknown" ? std::string() : text; };
  if (istarts_with(word, "check_client_")) {
    name = host(client_name());
    return {client(), "Client host"};
  }
  if (istarts_with(word, "check_reverse_")) {
    name = host(context_.session.reverse_client_name);
    return {name, "Unverified Client host"};
  }
  if (istarts_with(word, "check_helo_")) {
    name = helo_;
    return {name, "Helo command"};
  }
  const bool of_sender = istarts_with(word, "check_sender_");
  name = (of_sender ? sender_ : recipient_).value_or("");
  return {name, of_sender ? "Sender address" : "Recipient address"};
}

void Run::ahead_servers(const Step& step) {
  std::string name;
  (void)server_subject(step.word->name, name);
  const std::string_view domain = domain_part(name);
  if (domain.empty() || domain.front() == '[') return;
  const DnsType type = server_type(step.word->name);
  if (type == DnsType::a) {
    start_addresses(domain);
  } else {
    start(domain, type);
  }
}

Status Run::check_server_access(const Step& step) {
  std::string name;
  const Subject about = server_subject(step.word->name, name);
  const std::string_view domain = domain_part(name);
  if (domain.empty()) return Status::dunno;
  forbidden_ = "restriction " + std::string(step.word->name) + " returns OK for " + name;
  const DnsType type = server_type(step.word->name);
  bool found = false;
  if (domain.front() == '[') {
    if (type == DnsType::ns || domain.back() != ']') return Status::dunno;
    std::string_view literal = domain.substr(1, domain.size() - 2);
    if (!smtp::is_ip_address(literal)) return Status::dunno;
    if (istarts_with(literal, "ipv6:")) literal.remove_prefix(5);
    return check_address_table(step, literal, about, Ok::forbidden, found);
  }
  std::vector<std::string> servers;
  if (!find_servers(name, std::string(domain), type, servers)) return Status::dunno;

  std::size_t asked = 0;
  for (std::size_t i = 0; i < servers.size() && asked < kMostAddresses; ++i) {
    const std::string& server = servers[i];
    if (smtp::is_ip_address(server)) {
      const Status status = check_address_table(step, server, about, Ok::forbidden, found);
      if (found) return status;
      ++asked;
      continue;
    }
    if (type != DnsType::a) {
      const Status status = check_domain_table(step, server, about, Ok::forbidden, found);
      if (found) return status;
    }
    if (i == 0 && params_.smtpd_dns_lookahead) {
      for (std::size_t j = 0; j < std::min(servers.size(), kMostAddresses); ++j) start_addresses(servers[j]);
    }
    const HostAddresses host = addresses_of(server);
    if (host.status != DnsStatus::ok && type != DnsType::a) {
      warn("Unable to look up " + net::dns_type_name(type) + " host " + server + " for " + std::string(about.kind) + " " +
           about.name + ": " + net::address_error_text(host.status));
    }
    for (const std::string& address : host.addresses) {
      if (++asked > kMostAddresses) break;
      const Status status = check_address_table(step, address, about, Ok::forbidden, found);
      if (found) return status;
    }
  }
  return Status::dunno;
}

// The hosts behind a domain: without MX the domain itself, without NS those of a parent.  False: none, and
// what is to be said is logged.
bool Run::find_servers(const std::string& name, const std::string& domain, DnsType type,
                       std::vector<std::string>& servers) {
  if (type == DnsType::a) {
    servers.push_back(domain);
    return true;
  }
  std::string_view at = domain;
  net::DnsAnswer answer = ask(at, type);
  if (is_null_mx(answer)) return false;
  if (is_missing(answer.status) && type == DnsType::mx) {
    servers.push_back(domain);
    return true;
  }
  while (is_missing(answer.status)) {
    const std::size_t dot = at.find('.');
    if (dot == std::string_view::npos || dot + 1 >= at.size()) break;
    at.remove_prefix(dot + 1);
    answer = ask(at, type);
  }
  if (answer.status != DnsStatus::ok) {
    const bool climbed_out = is_missing(answer.status);
    warn("Unable to look up " + net::dns_type_name(type) + " host for " + (climbed_out ? name : std::string(at)) + ": " +
         net::dns_status_text(answer.status));
    return false;
  }
  for (const net::DnsRecord& record : answer.records) {
    if (smtp::is_ip_address(record.value)) {
      warn("numeric domain name in resource data of " + net::dns_type_name(type) + " record for " + std::string(at) + ": " +
           record.value);
    }
    servers.push_back(record.value);
  }
  return true;
}

// Is `host` this machine?  When that cannot be found out, a refusal is put off.
bool Run::is_own_host(const std::string& host) {
  const HostAddresses found = addresses_of(host);
  if (found.status != DnsStatus::ok) {
    defer_if_reject(450, "4.4.4", mx_trouble("Unable to look up mail exchanger host " + host + ": " +
                                             net::address_error_text(found.status)));
    return false;
  }
  return std::any_of(found.addresses.begin(), found.addresses.end(), [&](const std::string& text) {
    const auto address = map::parse_address(text);
    return address && rules_.reached_addresses.contains(*address);
  });
}

bool Run::any_own(const std::vector<std::string>& hosts) {
  for (const std::string& host : hosts) {
    const auto local = rules_.environment.router->is_local_domain(host);
    if (local && *local) return true;
  }
  return std::any_of(hosts.begin(), hosts.end(), [&](const std::string& host) { return is_own_host(host); });
}

// Are all addresses of the primary exchangers in permit_mx_backup_networks?
bool Run::all_in_backup_networks(const std::vector<std::string>& hosts) {
  for (const std::string& host : hosts) {
    const HostAddresses found = addresses_of(host);
    if (found.status != DnsStatus::ok) {
      defer_if_reject(450, "4.4.4", mx_trouble("Unable to look up host " + host + " as mail exchanger: " +
                                               net::dns_status_text(found.status)));
      return false;
    }
    for (const std::string& address : found.addresses) {
      const auto inside = rules_.backup_networks.matches(address);
      if (!inside) {
        warn(inside.error().context);
        defer_if_reject(450, "4.4.4", mx_trouble("Unable to verify host " + host + " as mail exchanger"));
        return false;
      }
      if (!*inside) return false;
    }
  }
  return true;
}

std::string Run::mx_trouble(const std::string& text) const {
  return "<" + recipient_.value_or("") + ">: Recipient address rejected: " + text;
}

void Run::ahead_mx_backup(const Step&) {
  if (!recipient_) return;
  const auto ours = rules_.environment.router->is_auth_destination(*recipient_);
  const std::string_view domain = domain_part(*recipient_);
  if (ours && !*ours && domain.size() < recipient_->size() && domain.front() != '[') start(domain, DnsType::mx);
}

Status Run::permit_mx_backup(const Step&) {
  using rewrite::AddressClass;
  if (!recipient_) return Status::dunno;
  const auto route = rules_.environment.router->resolve(*recipient_, sender_.value_or(""));
  if (!route) return lookup_failure(*recipient_, route.error());
  const std::size_t at = route->recipient.rfind('@');
  if (at == std::string::npos) return Status::ok;
  if (!params_.allow_untrusted_routing && is_source_routed(route->recipient)) return Status::dunno;
  if (route->address_class != AddressClass::other) return Status::ok;
  const std::string domain = route->recipient.substr(at + 1);
  if (domain.empty() || domain.front() == '[' || domain.front() == '#') return Status::dunno;

  net::DnsAnswer answer = ask(domain, DnsType::mx);
  if (is_missing(answer.status) || is_null_mx(answer)) return Status::dunno;
  if (answer.status != DnsStatus::ok) {
    return defer_if_reject(450, "4.4.4", mx_trouble(std::string("Unable to look up mail exchanger information: ") +
                                                    net::dns_status_text(answer.status)));
  }
  std::uint16_t best = UINT16_MAX;
  for (const net::DnsRecord& record : answer.records) best = std::min(best, record.preference);
  std::vector<std::string> primary, backup;
  for (net::DnsRecord& record : answer.records) {
    (record.preference == best ? primary : backup).push_back(std::move(record.value));
  }
  if (params_.smtpd_dns_lookahead) {
    for (const std::vector<std::string>& hosts : {std::cref(primary), std::cref(backup)}) {
      for (std::size_t i = 0; i < std::min(hosts.size(), kMostAddresses); ++i) start_addresses(hosts[i]);
    }
  }
  // Of a domain whose first exchanger we are, somebody forgot to tell us.
  if (any_own(primary) || !any_own(backup)) return Status::dunno;
  if (!rules_.backup_networks.empty() && !all_in_backup_networks(primary)) return Status::dunno;
  return Status::ok;
}

}  // namespace millrace::restrict
