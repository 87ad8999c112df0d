// /etc/hosts and /etc/resolv.conf, and reversed addresses.
#include <cstdlib>

#include "core/net/dns.h"
#include "core/net/host_files.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::net;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const HostsLine& line : parse_hosts(text)) {
    if (line.names.empty() || reverse_name(line.address).empty()) std::abort();
  }
  const auto servers = parse_resolv_conf(text);
  if (servers.empty() || servers.size() > 3) std::abort();
  (void)reverse_name(text);
  return 0;
}
