// Answers of DNS lists: see lookup.h.
#include "core/dnsbl/lookup.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <memory>

#include "core/base/strings.h"

namespace millrace::dnsbl {

namespace {

constexpr std::size_t kMaxReason = 500;

bool tells_of_refusal(std::string_view address) { return address.starts_with("127.255.255."); }

}  // namespace

Finding judge(const net::DnsAnswer& answer, const Filter* filter) {
  Finding out;
  switch (answer.status) {
    case net::DnsStatus::ok: break;
    case net::DnsStatus::no_data:
    case net::DnsStatus::no_name: return out;
    case net::DnsStatus::temporary:
    case net::DnsStatus::bogus:
    case net::DnsStatus::invalid: out.listing = Listing::unknown; return out;
  }
  std::vector<std::string> refusals;
  out.ttl = answer.records.empty() ? 0 : UINT32_MAX;
  for (const net::DnsRecord& record : answer.records) {
    out.ttl = std::min(out.ttl, record.ttl);
    if (filter != nullptr) {
      if (filter->matches(record.value)) {
        out.addresses.push_back(record.value);
        continue;
      }
    } else if (!tells_of_refusal(record.value)) {
      out.addresses.push_back(record.value);
      continue;
    }
    if (tells_of_refusal(record.value)) refusals.push_back(record.value);
  }
  if (!out.addresses.empty()) {
    out.listing = Listing::listed;
  } else if (!refusals.empty()) {
    out.listing = Listing::blocked;
    out.addresses = std::move(refusals);
  }
  return out;
}

std::string trouble(const Finding& finding, std::string_view query, const net::DnsAnswer& answer) {
  if (finding.listing == Listing::unknown) return fmt::format("{}: RBL lookup error: {}", query, answer.why);
  if (finding.listing == Listing::blocked) {
    return fmt::format("{}: the DNS list answers {}: it does not serve this resolver; taken as not listed", query,
                       fmt::join(finding.addresses, ", "));
  }
  return "";
}

std::string reason(const net::DnsAnswer& texts) {
  std::string out;
  if (texts.status != net::DnsStatus::ok) return out;
  for (const net::DnsRecord& record : texts.records) {
    if (out.size() >= kMaxReason) break;
    if (!out.empty()) out += " / ";
    out += record.value;
  }
  return out;
}

Score look_up(net::Resolver& resolver, const std::vector<Site>& sites, std::string_view address, Deadline deadline,
              const log::Logger& log) {
  std::map<std::string, std::unique_ptr<net::DnsQuestion>, std::less<>> questions;   // by domain
  for (const Site& site : sites) {
    const std::string query = address_query(address, site.domain);
    if (query.empty()) continue;
    auto& question = questions[lower(site.domain)];
    if (!question) question = resolver.start(query, net::DnsType::a);
  }
  Score out;
  for (auto& [domain, question] : questions) {
    const net::DnsAnswer& answer = question->answer(deadline);
    const std::string query = address_query(address, domain);
    bool told = false;
    for (const Site& site : sites) {
      if (!iequals(site.domain, domain)) continue;
      Finding found = judge(answer, site.filter ? &*site.filter : nullptr);
      if (const std::string what = trouble(found, query, answer); !what.empty() && !std::exchange(told, true)) {
        log.warning(printable(what));
      }
      if (found.listing == Listing::unknown) out.complete = false;
      if (found.listing != Listing::listed) continue;
      if (!std::exchange(told, true)) {
        for (const net::DnsRecord& record : answer.records) {
          log.info(fmt::format("addr {} listed by domain {} as {}", address, site.domain, record.value));
        }
      }
      out.total += site.weight;
      out.ttl = out.hits.empty() ? found.ttl : std::min(out.ttl, found.ttl);
      out.hits.push_back({&site, std::move(found.addresses)});
    }
  }
  std::sort(out.hits.begin(), out.hits.end(), [](const Hit& a, const Hit& b) { return a.site < b.site; });
  return out;
}

}  // namespace millrace::dnsbl
