// A front's connection to the queue process: messages out, acknowledgements back, many at once.
#pragma once

#include <memory>
#include <string>

#include "core/base/log.h"
#include "core/smtp/sink.h"

namespace millrace::queue {

struct ClientOptions {
  std::string socket_path;       // where the queue process listens
  int spool_directory = -1;      // descriptor, not owned
  bool long_queue_ids = false;
  std::uint64_t min_free_bytes = 0;
};

// Reconnects when the queue process was restarted.  What was under way is asked once more of the new one; a
// message that the old one had stored is recognised by its id.  A second failure is Errc::closed (451 to the
// client: it was not acknowledged, so it may or may not be stored, never lost).
// Loop-local.
std::unique_ptr<smtp::MessageSink> make_client(const ClientOptions& options, const log::Logger& log);

}  // namespace millrace::queue
