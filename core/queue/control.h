// What queue tools ask of the running daemon: the scheduler's side of it, and the server on the control
// socket.
#pragma once

#include <sys/types.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "core/base/log.h"
#include "core/queue/store.h"

namespace millrace::queue {

// Implemented by the scheduler (core/deliver).  All calls on the queue process's loop, from a fiber, after
// the store was changed.  None may wait.
class SchedulerControl {
 public:
  virtual ~SchedulerControl() = default;
  // Attempt everything deferred now, and forget which destinations were dead (postqueue -f).
  virtual void flush_all() = 0;
  // Attempt this deferred message now (postqueue -i).  Ids that are gone are no error.
  virtual void flush(const std::string& queue_id) = 0;
  // Attempt the deferred mail for this domain soon (postqueue -s, ETRN): "example.org", "[192.0.2.1]".  false:
  // it is not one of fast_flush_domains.
  virtual bool flush_site(const std::string& domain) = 0;
  // Is it in the active queue: selected for delivery, or being delivered?
  virtual bool is_active(const std::string& queue_id) = 0;
  // The message was deleted.  A delivery that runs may end; its outcome is dropped.
  virtual void removed(const std::string& queue_id) = 0;
  // Queue, attempts, next_attempt or forced_expire was changed: load() tells.  After "hold" a delivery
  // that runs may end, but its update must not name a queue other than hold.
  virtual void changed(const std::string& queue_id) = 0;
};

struct ControlOptions {
  std::string socket_path;        // for log lines
  int listening_fd = -1;          // a unix socket; owned by the caller
  // Who may do everything besides root: mail_owner.
  uid_t owner = static_cast<uid_t>(-1);
  // Others may list and flush unless these name them as outsiders ("nobody(65534)"); unset: they may.  May
  // wait. [fiber]
  std::function<Result<std::string>(uid_t user)> list_outsider, flush_outsider;
  std::string syslog_name = "postfix";
};

// Serves the control socket until destroyed.  Loop-local; the store and the scheduler outlive it.
// `scheduler` may be nullptr (tests): then nothing is active.
class ControlServer {
 public:
  static std::unique_ptr<ControlServer> start(Store& store, SchedulerControl* scheduler, const ControlOptions& options);
  virtual ~ControlServer() = default;
};

}  // namespace millrace::queue
