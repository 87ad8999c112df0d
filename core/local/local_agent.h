// The local(8) and virtual(8) delivery agents in the queue process: they decide where a recipient's mail goes;
// what needs the recipient's rights is asked of the master (delivery_task.h).
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/config/config.h"
#include "core/deliver/attempt.h"
#include "core/local/forwarder.h"
#include "core/local/runner.h"
#include "core/map/table.h"
#include "core/rewrite/router.h"

namespace millrace::local {

struct LocalParts {
  const config::Config* config = nullptr;
  const config::Service* service = nullptr;
  map::TableSet* tables = nullptr;
  std::shared_ptr<const rewrite::Router> router;
  Runner* runner = nullptr;
  std::shared_ptr<Forwarder> forwarder;
  std::string spool;      // a directory on the queue's file system
  log::Logger log;
  int delay_places = 2;   // delay_logging_resolution_limit
  // Delivers by another transport, in place: mailbox_transport and fallback_transport. [fiber]
  std::function<void(const std::string& transport, deliver::Attempt& attempt)> deliver_through;
};

// What is not owned outlives the agents.  Errors: config (tables).
Result<std::unique_ptr<deliver::Agent>> make_local_agent(LocalParts parts);
Result<std::unique_ptr<deliver::Agent>> make_virtual_agent(LocalParts parts);

}  // namespace millrace::local
