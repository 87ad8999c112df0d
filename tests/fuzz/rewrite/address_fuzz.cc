// Any address through the router: a valid domain or a refusal, and never an authorized destination with routing in
// its local part.
#include <cstdint>

#include "core/base/assert.h"
#include "core/rewrite/address.h"
#include "core/rewrite/domain.h"
#include "core/rewrite/router.h"

using namespace millrace;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size > 4096) return 0;
  const std::string_view address(reinterpret_cast<const char*>(data), size);
  static map::TableSet tables({});
  static const auto router = [] {
    config::Params params;
    params.append_at_myorigin = params.swap_bangpath = params.allow_percent_hack = params.append_dot_mydomain = true;
    params.resolve_dequoted_address = true;
    params.myorigin = params.myhostname = "here.example";
    params.mydomain = "example";
    params.mydestination = "here.example";
    params.relay_domains = "a.b";
    params.empty_address_recipient = "MAILER-DAEMON";
    params.inet_interfaces = "127.0.0.1";
    params.address_verify_local_transport = params.address_verify_virtual_transport = "smtp";
    params.address_verify_relay_transport = params.address_verify_default_transport = "smtp";
    params.local_transport = params.virtual_transport = params.relay_transport = params.default_transport = "smtp";
    return rewrite::Router::make(nullptr, params, tables).value();
  }();
  rewrite::Tokens tokens = rewrite::scan_address(address);
  (void)rewrite::internal_text(tokens);
  const auto route = router->resolve(address, "");
  MR_ASSERT(route);
  const std::string& recipient = route->recipient;
  if (router->is_auth_destination(address).value()) {
    const std::size_t at = recipient.rfind('@');
    MR_ASSERT(at != recipient.npos && rewrite::is_valid_domain(std::string_view(recipient).substr(at + 1)));
    MR_ASSERT(recipient.find_first_of("@!%") == at);
    MR_ASSERT(route->address_class != rewrite::AddressClass::other);
  }
  return 0;
}
