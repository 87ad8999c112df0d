// One milter's settings, and the reading of smtpd_milters and of "milter:…" elements of smtpd_filters.
//
//   inet:127.0.0.1:8891, { unix:/run/x.sock, default_action=accept, command_timeout=10s }
//
// Keys of a block: connect_timeout command_timeout content_timeout default_action protocol, as Postfix has
// them, and the common keys of the chain, timeout shadow max_connections.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/config/config.h"
#include "core/filter/chain.h"
#include "core/map/table.h"
#include "core/milter/macros.h"
#include "core/net/stream.h"

namespace millrace::milter {

struct Settings {
  std::string service;       // as configured: "inet:127.0.0.1:8891"
  bool is_unix = false;
  std::string path;          // of a unix socket, absolute
  std::string host, port;    // else
  std::chrono::seconds connect_timeout{30}, command_timeout{30}, content_timeout{300};
  std::uint32_t version = 6;
  bool no_header_reply = false;         // the filter does not answer headers (milter_protocol)
  std::int64_t body_limit = 0;          // octets of a replacement body; 0: none
  // The protocol's QUIT_NC: a connection goes to the next SMTP session without a new negotiation.  Not all filters
  // know it (libmilter does), so it has to be asked for.
  bool pool = false;
  std::chrono::seconds pool_idle{5};
  std::shared_ptr<const map::Maps> header_checks;   // milter_header_checks
  log::Logger cleanup_log = log::Logger();                          // for what they find
  std::function<Result<std::unique_ptr<net::Stream>>(Deadline)> connector;   // of tests, in place of a socket
  MacroSettings macros;
};

// What the daemon knows and the configuration does not say.
struct Host {
  std::string parameter = "smtpd_milters";   // for messages
  config::Location where;
  std::shared_ptr<const map::Maps> header_checks;   // milter_header_checks
  log::Logger cleanup_log = log::Logger();
  bool chroot = false;                       // unix: paths are below queue_directory
  std::function<std::optional<Hop>(std::string_view address, bool is_sender)> route;   // see macros.h
};

// The filters of a list such as the value of smtpd_milters.  What cannot be used goes to `findings` as an
// error and is left out.
std::vector<std::shared_ptr<filter::Filter>> make_filters(const config::Config& config, const config::Params& params,
                                                          std::string_view value, config::Findings& findings,
                                                          const Host& host = {});
// One element of smtpd_filters: "milter:inet:127.0.0.1:8891" or "{ milter:inet:…, key=value }".  nullptr
// after an error.
std::shared_ptr<filter::Filter> make_filter(const config::Config& config, const config::Params& params,
                                            std::string_view element, config::Findings& findings,
                                            const Host& host = {});

}  // namespace millrace::milter
