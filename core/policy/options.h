// The argument of check_policy_service as values (postconf(5), smtpd_policy_service_*).  Pure.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.h"
#include "core/config/params.h"
#include "core/filter/chain.h"

namespace millrace::policy {

struct ServiceOptions {
  bool is_unix = false;
  std::string host, port;      // inet: port number or service name; host "" is localhost
  std::string path;            // unix: as written
  std::string name;            // for the log: "127.0.0.1:10023", the path
  std::chrono::milliseconds timeout{100'000}, max_idle{300'000}, max_ttl{1'000'000}, retry_delay{1'000};
  std::int64_t request_limit = 0, try_limit = 2;
  std::size_t max_connections = 100;
  std::string default_action = "451 4.3.5 Server configuration problem";
  std::array<std::string, filter::kTraffics> class_actions;   // default_action_inbound and so on; "": default_action
  filter::BreakerRule breaker;
  std::string policy_context;
  bool check_utf8 = true;      // an action that is not UTF-8 is a failure (smtputf8_enable)
};

// "inet:host:port", "unix:path" or "{ endpoint, name = value, { name = value with blanks } … }"; what is
// not given comes from the smtpd_policy_service_ parameters.  Errors: config.
Result<ServiceOptions> parse_service(std::string_view argument, const config::Params& params);

}  // namespace millrace::policy
