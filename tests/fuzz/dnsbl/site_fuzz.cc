// Any text as a DNS list of main.cf: what is taken has a domain that can be asked, and a filter that says
// the same of the same address.
#include <cstdint>
#include <cstdlib>

#include "core/dnsbl/site.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace millrace::dnsbl;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto site = parse_site(text, Weights::taken);
  if (site) {
    if (site->domain.empty() || site->domain.size() > 200 || site->text.size() > size) std::abort();
    if (site->filter && site->filter->matches(text) && !parse_ipv4(text)) std::abort();
    if (address_query("192.0.2.1", site->domain) != "1.2.0.192." + site->domain) std::abort();
  }
  const std::string query = name_query(text, "bl.example");
  if (!query.empty() && !query.ends_with(".bl.example")) std::abort();
  return 0;
}
