// Where an accepted message goes: the SMTP session's view of the queue.
#pragma once

#include <chrono>
#include <string>

#include "core/base/result.h"
#include "core/mime/envelope.h"
#include "core/mime/message.h"

namespace millrace::smtp {

// What is known of an address (verify(8)).  The order is from good to bad, but for `pending`: nobody knows yet.
struct Verified {
  enum class Status { ok, deferred, bounced, pending } status = Status::pending;
  std::string text;   // the next hop's words, or ours
};

class MessageSink {
 public:
  virtual ~MessageSink() = default;
  // A queue id for a transaction that begins.  May suspend when the numbers at hand are used up. [fiber]
  virtual Result<std::string> new_queue_id() = 0;
  // Success only when the message is durable.  Errors: no_space (452 4.3.1), io, closed (451 4.3.0),
  // too_large (552 5.3.4).  envelope.queue_id is set. [fiber]
  virtual Result<void> submit(const mime::Envelope& envelope, mime::Message& message) = 0;
  // Could mail for this address be delivered?  Waits for an answer that is not known yet as long as `wait`.  Errors:
  // nobody can tell.  [fiber]
  virtual Result<Verified> verify(const std::string& address, std::chrono::seconds wait) {
    (void)wait;
    return fail(Errc::internal, "address verification of " + address + ": not here");
  }
  // Directory (descriptor) in which a large body may spill; -1: memory only.
  virtual int spool_directory() const = 0;
  // Is there room for a message of this many bytes now? (452 4.3.1 at MAIL)
  virtual bool has_space(std::uint64_t bytes) = 0;
};

}  // namespace millrace::smtp
