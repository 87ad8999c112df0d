// A message that a local recipient's aliases or .forward send on: a new message of our own queue (local(8),
// MAIL FORWARDING).
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/deliver/attempt.h"
#include "core/queue/store.h"
#include "core/rewrite/cleanup.h"

namespace millrace::local {

class Forwarder {
 public:
  using Stored = std::function<void(queue::Entry, std::shared_ptr<const std::string>)>;
  // All outlive the forwarder.  `stored` is told of what was stored.
  Forwarder(const config::Config& config, queue::Store& store, std::shared_ptr<const rewrite::Cleanup> cleanup,
            std::string spool, Stored stored);

  // Sends the attempt's message to `recipients`, on behalf of recipient `position`; "Delivered-To: `delivered`"
  // stands on top unless empty.  `list`: not an alias of the recipient but a mailing list: what the sender asked
  // to be told of is not passed on.  The new queue id.  Errors: of store and tables. [fiber]
  Result<std::string> forward(const deliver::Attempt& attempt, std::size_t position, const std::string& sender, bool list,
                              const std::vector<std::string>& recipients, const std::string& delivered);

 private:
  const config::Config& config_;
  queue::Store& store_;
  std::shared_ptr<const rewrite::Cleanup> cleanup_;
  const std::string spool_;
  Stored stored_;
  log::Logger cleanup_log_;
};

}  // namespace millrace::local
