// What administrators do with the queue: list, hold, release, requeue, expire, delete.  The same code runs
// in the daemon (behind the control socket) and in a tool that opened the store itself.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "core/queue/control.h"
#include "core/queue/store.h"

namespace millrace::queue {

// One message as postqueue(1) shows it: recipients not yet done, with the reason of the last delay.
struct Listing {
  QueueName queue = QueueName::incoming;
  std::string queue_id;
  std::int64_t arrival_seconds = 0;
  std::uint64_t size = 0;
  bool forced_expire = false;
  std::string sender;
  struct Recipient {
    std::string address, reason;
  };
  std::vector<Recipient> recipients;
};

// Calls `each` until it returns false.  A message that cannot be read is listed as corrupt, without
// recipients.  `each` may wait. [fiber]
Result<void> list_queue(Store& store, SchedulerControl* scheduler, const std::function<bool(const Listing&)>& each);

// postsuper(1): -d, -h, -H, -r, -e, -f.
enum class Change { remove, hold, release, requeue, expire, expire_and_release };
std::optional<Change> parse_change(std::string_view letter);   // "d" "h" "H" "r" "e" "f"
// "removed", "placed on hold": of one message, in the log.
const char* change_done(Change change);

struct Changed {
  std::size_t changed = 0;     // messages this was done to
  std::size_t released = 0;    // by expire_and_release: those that were on hold
};
// To one message, or with an empty id to all, of those queues.  Queues and what a change does as in
// postsuper(1), but requeued mail keeps its id: it starts over in incoming, with all attempts forgotten.
// Durable when it returns. [fiber]
Result<Changed> change_queue(Store& store, SchedulerControl* scheduler, Change change, const std::string& queue_id,
                             const std::vector<QueueName>& queues);

// The queues postsuper looks into when none is named.
std::vector<QueueName> default_queues(Change change);

}  // namespace millrace::queue
