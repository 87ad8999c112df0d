#include "core/daemon/milter_host.h"

#include <array>
#include <chrono>

#include "core/daemon/setup.h"
#include "core/rewrite/router.h"

namespace millrace::daemon {
namespace {

// Where the last few addresses go: each milter of a chain asks for the macros of the same sender and recipient.  Kept for
// a second, as long as tables are.  Belongs to one loop.
class LastHops {
 public:
  const milter::Hop* find(std::string_view address) const {
    const TimePoint now = SteadyClock::now();
    for (const Entry& entry : entries_) {
      if (entry.until > now && entry.address == address) return &entry.hop;
    }
    return nullptr;
  }
  void keep(std::string_view address, milter::Hop hop) {
    entries_[next_++ % entries_.size()] = {std::string(address), std::move(hop), SteadyClock::now() + std::chrono::seconds(1)};
  }

 private:
  struct Entry {
    std::string address;
    milter::Hop hop;
    TimePoint until = TimePoint::min();
  };
  std::array<Entry, 8> entries_;
  std::size_t next_ = 0;
};

}  // namespace

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
  host.route = [router = std::move(router), daemon = params.empty_address_recipient + "@" + params.myhostname,
                last = std::make_shared<LastHops>()](std::string_view address, bool) -> std::optional<milter::Hop> {
    if (const auto* known = last->find(address)) return *known;
    const auto route = router->resolve(address.empty() ? std::string_view(daemon) : address, "");
    if (!route) return std::nullopt;
    milter::Hop hop{address.empty() ? std::string() : rewrite::quote_local(route->recipient), route->transport, route->nexthop};
    last->keep(address, hop);
    return hop;
  };
  return true;
}

}  // namespace millrace::daemon
