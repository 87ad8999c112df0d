// The listening sockets of a configuration: which master.cf entries listen, where, and the descriptors.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "core/base/result.h"
#include "core/config/config.h"
#include "core/net/stream.h"

namespace millrace::daemon {

// A place to listen for one service of master.cf (by its index in Config::services()).
struct ListenPlan {
  std::size_t service = 0;
  net::Endpoint at;
};

// Every place at which services of that command listen: inet services on each of inet_interfaces, or on the
// host their name gives; unix and pass services below queue_directory.  Problems go to `findings`.
std::vector<ListenPlan> plan_listeners(const config::Config& config, config::Findings& findings,
                                       std::string_view command = "smtpd");

// Open sockets by endpoint, kept over reloads so that no connection is refused meanwhile. [master]
class Listeners {
 public:
  ~Listeners();
  // Opens what is new; closes nothing.  The error names the endpoint.
  Result<void> open(const std::vector<ListenPlan>& plan);
  // Closes what neither plan has any longer.
  void close_others(const std::vector<ListenPlan>& plan, const std::vector<ListenPlan>& other = {});
  int fd(const net::Endpoint& at) const;  // -1 when not open

 private:
  std::map<std::string, int> sockets_;
};

}  // namespace millrace::daemon
