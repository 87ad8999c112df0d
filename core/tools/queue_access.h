// The queue as a tool sees it: through the running daemon, or, when that is down, the store itself.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/queue/admin.h"

namespace millrace::tools {

class QueueAccess {
 public:
  // Through the daemon's control socket when it runs.  When it is down: the store, as the user who owns it
  // (root becomes that user for the rest of the process, so that it leaves no files of its own behind).
  // Errors: refused (not permitted), io.
  static Result<std::unique_ptr<QueueAccess>> open(const std::string& queue_directory);
  virtual ~QueueAccess() = default;

  virtual bool daemon_runs() const = 0;
  virtual Result<void> list(const std::function<void(const queue::Listing&)>& each) = 0;
  // An empty id means all; no queues mean postsuper's default for that change.
  virtual Result<queue::Changed> change(queue::Change change, std::string_view letter, const std::string& queue_id,
                                        const std::vector<queue::QueueName>& queues) = 0;
  // not_found when there is no such message.
  virtual Result<void> cat(const std::string& queue_id, const std::function<void(const queue::Entry&)>& entry,
                           const std::function<void(std::string_view)>& content) = 0;
  // Only with a daemon.
  virtual Result<void> flush_all() = 0;
  virtual Result<void> flush(const std::string& queue_id) = 0;
  virtual Result<void> flush_site(const std::string& domain) = 0;
};


}  // namespace millrace::tools
