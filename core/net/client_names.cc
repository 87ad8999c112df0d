// The names of a client, as Postfix's smtpd finds them through libc: /etc/hosts, then DNS; the name
// counts when its own look-up gives the client's address back.
#include <fmt/format.h>

#include <algorithm>

#include "core/base/log.h"
#include "core/base/strings.h"
#include "core/net/dns.h"
#include "core/net/host_files.h"

namespace millrace::net {
namespace {

// The file as it is now; per thread, because every thread has a loop of its own.
std::shared_ptr<const std::vector<HostsLine>> hosts(const std::string& path) {
  thread_local FileWatch watch{path};
  thread_local std::shared_ptr<const std::vector<HostsLine>> lines;
  if (watch.path() != path) watch = FileWatch(path);
  if (watch.changed())
    lines = std::make_shared<const std::vector<HostsLine>>(parse_hosts(watch.read()));
  return lines;
}

// Postfix's valid_hostname: what may stand in a log line and in a Received header as a host's name.
bool is_host_name(std::string_view name) {
  if (name.empty() || name.size() > 255) return false;
  bool letters = false;
  std::size_t label = 0;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    const bool edge = i + 1 == name.size() || name[i + 1] == '.';
    if (c == '.') {
      if (label == 0) return false;
      label = 0;
    } else if (is_alnum(c) || c == '_') {
      letters = letters || !is_digit(c);
      ++label;
    } else if (c == '-' && label > 0 && !edge) {
      letters = true;
      ++label;
    } else {
      return false;
    }
    if (label > 63) return false;
  }
  return letters && label > 0;
}

struct Found {
  DnsStatus status = DnsStatus::no_name;
  std::vector<std::string> values;
};

Found reverse_lookup(Resolver& resolver, const std::string& address, Deadline deadline,
                     const std::vector<HostsLine>& file) {
  for (const HostsLine& line : file) {
    if (line.address == address) return {DnsStatus::ok, {line.names.front()}};
  }
  const DnsAnswer answer = resolver.query(reverse_name(address), DnsType::ptr, deadline);
  Found out{answer.status, {}};
  for (const DnsRecord& record : answer.records) out.values.push_back(record.value);
  return out;
}

Found forward_lookup(Resolver& resolver, const std::string& name, bool ipv6, Deadline deadline,
                     const std::vector<HostsLine>& file) {
  Found out;
  for (const HostsLine& line : file) {
    const bool same_family = (line.address.find(':') != std::string::npos) == ipv6;
    const bool named = std::any_of(line.names.begin(), line.names.end(),
                                   [&](const std::string& other) { return iequals(other, name); });
    if (same_family && named) out.values.push_back(line.address);
  }
  if (!out.values.empty()) {
    out.status = DnsStatus::ok;
    return out;
  }
  const DnsAnswer answer = resolver.query(name, ipv6 ? DnsType::aaaa : DnsType::a, deadline);
  out.status = answer.status;
  for (const DnsRecord& record : answer.records) out.values.push_back(record.value);
  return out;
}

bool is_temporary(DnsStatus status) {
  return status == DnsStatus::temporary || status == DnsStatus::bogus;
}

}  // namespace

// libc's words (gai_strerror), because they are what Postfix's log shows.
const char* address_error_text(DnsStatus status) {
  if (is_temporary(status)) return "Temporary failure in name resolution";
  if (status == DnsStatus::no_data) return "No address associated with hostname";
  return "Name or service not known";
}

std::vector<std::string> hosts_file_addresses(std::string_view name, const std::string& hosts_file) {
  const auto file = hosts(hosts_file);
  std::vector<std::string> out;
  for (const HostsLine& line : *file) {
    const bool named = std::any_of(line.names.begin(), line.names.end(),
                                   [&](const std::string& other) { return iequals(other, name); });
    if (named) out.push_back(line.address);
  }
  return out;
}

HostNames client_names(Resolver& resolver, const std::string& address, Deadline deadline,
                       const std::string& hosts_file) {
  HostNames out;
  const std::string client = canonical_address(address);
  if (client.empty()) {
    out.name_status = out.reverse_status = HostNames::Status::not_found;
    return out;
  }
  const auto file = hosts(hosts_file);  // held: it may be read again while we wait
  const Found reverse = reverse_lookup(resolver, client, deadline, *file);
  const bool found = reverse.status == DnsStatus::ok && !reverse.values.empty();
  if (!found || !is_host_name(reverse.values.front())) {
    out.reverse_status = out.name_status =
        is_temporary(reverse.status) ? HostNames::Status::temporary : HostNames::Status::not_found;
    return out;
  }
  out.reverse = reverse.values.front();
  const bool ipv6 = client.find(':') != std::string::npos;
  const Found forward = forward_lookup(resolver, out.reverse, ipv6, deadline, *file);
  if (forward.status != DnsStatus::ok) {
    out.name_status =
        is_temporary(forward.status) ? HostNames::Status::temporary : HostNames::Status::forged;
    out.warning = fmt::format("hostname {} does not resolve to address {}: {}", out.reverse, client,
                              address_error_text(forward.status));
  } else if (std::find(forward.values.begin(), forward.values.end(), client) ==
             forward.values.end()) {
    out.name_status = HostNames::Status::forged;
    out.warning = fmt::format("hostname {} does not resolve to address {}", out.reverse, client);
  } else {
    out.name = out.reverse;
  }
  return out;
}

}  // namespace millrace::net
