// A DNS response from a name server: first byte chooses the type, the rest is the packet.
#include <cstdlib>

#include "core/net/dns.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::net;
  if (size == 0) return 0;
  static const DnsType kTypes[] = {DnsType::a,   DnsType::ns,  DnsType::cname, DnsType::soa,
                                   DnsType::ptr, DnsType::mx,  DnsType::txt,   DnsType::aaaa,
                                   DnsType::srv, DnsType::tlsa};
  const std::string_view packet(reinterpret_cast<const char*>(data) + 1, size - 1);
  const DnsAnswer answer = parse_dns_answer(packet, kTypes[data[0] % 10]);
  if ((answer.status == DnsStatus::ok) == answer.records.empty()) std::abort();
  std::size_t bytes = 0;
  for (const DnsRecord& record : answer.records) bytes += record.value.size();
  if (bytes > packet.size() * 256) std::abort();  // 255 bytes of name from 2 of pointer
  return 0;
}
