#include "core/daemon/milter_host.h"

#include "core/daemon/setup.h"
#include "core/rewrite/router.h"

namespace millrace::daemon {

bool add_milter_host(milter::Host& host, const config::Config& config, const config::Params& params, map::TableSet& tables,
                     std::shared_ptr<const rewrite::Router> router, config::Findings& findings, const config::Service* service) {
  auto maps = map::Maps::open(tables, params.milter_header_checks);
  if (!maps) {
    findings.error(config.where("milter_header_checks"), "milter_header_checks", maps.error().context);
    return false;
  }
  if (!maps->empty()) host.header_checks = std::make_shared<const map::Maps>(std::move(*maps));
  host.cleanup_log = logger_for(config, "cleanup", service);
  if (!router) return true;
  // Mail to the null address goes to MAILER-DAEMON at this host; the macro stays empty.
  host.route = [router = std::move(router), daemon = params.empty_address_recipient + "@" + params.myhostname](
                   std::string_view address, bool) -> std::optional<milter::Hop> {
    const auto route = router->resolve(address.empty() ? std::string_view(daemon) : address, "");
    if (!route) return std::nullopt;
    return milter::Hop{address.empty() ? std::string() : rewrite::quote_local(route->recipient), route->transport, route->nexthop};
  };
  return true;
}

}  // namespace millrace::daemon
