// DNS questions that suspend the fiber.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace millrace::net {

enum class DnsType : std::uint16_t {
  a = 1,
  ns = 2,
  cname = 5,
  soa = 6,
  ptr = 12,
  mx = 15,
  txt = 16,
  aaaa = 28,
  srv = 33,
  tlsa = 52
};

enum class DnsStatus {
  ok,         // records of the type
  no_data,    // the name exists, without such records
  no_name,    // NXDOMAIN
  temporary,  // SERVFAIL, time-out, unreachable
  bogus,      // DNSSEC says forged: to be treated as temporary
  invalid,    // the question or the answer is malformed
};

struct DnsRecord {
  std::uint32_t ttl = 0;
  std::uint16_t preference = 0;  // MX, SRV priority
  std::uint16_t weight = 0, port = 0;
  std::string value;  // address text, host name without final dot ("" is the root), TXT bytes
                      // joined, TLSA: the bytes of the record as they are
};

struct DnsAnswer {
  DnsStatus status = DnsStatus::temporary;
  bool secure = false;         // DNSSEC verified
  std::string canonical_name;  // after CNAMEs
  std::vector<DnsRecord> records;
  std::string why;  // for the log, on failure: "Host or domain name not found. Name service error
                    // for name=x type=MX: Host not found"
};

// A question under way, so that several can be asked side by side.  Destroyed before the answer is there:
// the answer warms the cache.
class DnsQuestion {
 public:
  virtual ~DnsQuestion() = default;
  // Waits for the answer.  Past the deadline (or canceled) the status is temporary; a later call may have
  // the answer. [fiber]
  virtual const DnsAnswer& answer(Deadline deadline) = 0;
};

class Resolver {
 public:
  virtual ~Resolver() = default;
  // [fiber, unless documented otherwise by a test double]  A name in UTF-8 is asked for in its
  // A-label form.  Past the deadline (or canceled) the status is temporary, and the answer warms
  // the cache.
  virtual DnsAnswer query(std::string_view name, DnsType type, Deadline deadline) = 0;
  // Starts a question; to be dropped before the resolver.  This default asks when the answer is wanted:
  // for test doubles.
  virtual std::unique_ptr<DnsQuestion> start(std::string_view name, DnsType type);
  // Starts a question whose answer is not waited for: it warms the cache.
  virtual void prefetch(std::string_view name, DnsType type) = 0;
};

// Pure parser of a DNS response packet (RFC 1035): what query() is built on, and what is fuzzed.
// Takes the name from the packet's question and follows CNAMEs inside of the packet.
DnsAnswer parse_dns_answer(std::string_view packet, DnsType type);

// "1.2.0.192.in-addr.arpa" (or ip6.arpa) for an address; "" when it is none.
std::string reverse_name(std::string_view address);
// The same with another suffix: "1.2.0.192" + ".zen.example" (DNSBL).
std::string reverse_labels(std::string_view address);

// "MX"; "TYPE999" for one without a name here.
std::string dns_type_name(DnsType type);
// libc's words: "Host not found, try again"; "" for ok.
const char* dns_status_text(DnsStatus status);
// Postfix's text for the log (DnsAnswer::why); "" for ok.
std::string dns_failure_text(std::string_view name, DnsType type, DnsStatus status);

struct ResolverOptions {
  std::string resolv_conf = "/etc/resolv.conf";  // "nameserver ADDRESS[@PORT]" lines
  std::string trust_anchor_file;                 // DNSSEC root key; "": answers are not validated
};
// libunbound on this thread's loop: cache, deduplication, forwarders from /etc/resolv.conf (looked
// at again when it changes), .test. and private zones open.  One per loop; destroyed before the
// loop.
std::unique_ptr<Resolver> make_resolver(const ResolverOptions& options = {});

struct HostNames {
  std::string name = "unknown";     // verified: PTR whose forward look-up gives the address back
  std::string reverse = "unknown";  // PTR as it is
  enum class Status {
    ok,
    not_found,
    forged,
    temporary
  } name_status = Status::ok,
    reverse_status = Status::ok;
  std::string warning;  // Postfix's: "hostname X does not resolve to address Y: …", "" when fine
};
// The names of a client as Postfix's smtpd sees them, /etc/hosts first. [fiber]
HostNames client_names(Resolver& resolver, const std::string& address, Deadline deadline,
                       const std::string& hosts_file = "/etc/hosts");

// What /etc/hosts says of a name, before DNS is asked; empty when it says nothing.  libc's word for a
// name that has no address ("Name or service not known").
std::vector<std::string> hosts_file_addresses(std::string_view name, const std::string& hosts_file = "/etc/hosts");
const char* address_error_text(DnsStatus status);

}  // namespace millrace::net
