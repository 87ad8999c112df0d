// Asking policy services: connections are kept, shared by all sessions of a process, and bounded.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/base/result.h"
#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/policy/options.h"
#include "core/policy/wire.h"

namespace millrace::policy {

// One service.  Belongs to one loop.
class Service {
 public:
  using Connect = std::function<Result<std::unique_ptr<net::Stream>>(Deadline)>;
  Service(ServiceOptions options, Connect connect);

  const ServiceOptions& options() const { return options_; }
  const std::string& name() const { return options_.name; }

  // Sends the request and gives the action the service answers.  Tries try_limit times, each within the
  // service's timeout, and never past `deadline`.  What went wrong is logged here ("problem talking to
  // server 127.0.0.1:10023: Connection refused"); the caller then uses options().default_action.  [fiber]
  Result<std::string> ask(const Attributes& request, Deadline deadline, const log::Logger& log);

  // Closes connections that were idle or alive for too long.  [loop]
  void sweep();

 private:
  struct Connection {
    std::unique_ptr<net::Stream> stream;
    TimePoint created, last_used;
    std::int64_t requests = 0;
  };
  bool usable(const Connection& connection, TimePoint now) const;
  Result<Connection> take(bool fresh, Deadline deadline);
  Result<std::string> attempt(const std::string& request, Deadline deadline, bool fresh, bool& reused);
  Result<std::string> exchange(Connection& connection, const std::string& request, Deadline deadline, bool& keep);

  ServiceOptions options_;
  Connect connect_;
  net::Gate gate_;
  std::vector<Connection> idle_;   // the most recently used last
  bool hung_up_ = false;           // the last failure was the service closing the connection
};

// The services of one process, by argument.  Not thread-safe.
class Pool {
 public:
  // `queue_directory` is where relative unix paths begin, and absolute ones of a chrooted service.
  explicit Pool(std::string queue_directory) : queue_directory_(std::move(queue_directory)) {}

  // Parses the argument and looks host names up, so it is for start-up.  Errors: config.
  Result<std::shared_ptr<Service>> open(std::string_view argument, const config::Params& params, bool chroot);
  void sweep();

 private:
  std::string queue_directory_;
  std::map<std::string, std::shared_ptr<Service>> services_;
};

}  // namespace millrace::policy
