// The queue process's side of the fronts' connections: messages in, acknowledgements out after the commit.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/base/log.h"
#include "core/queue/store.h"
#include "core/smtp/sink.h"

namespace millrace::queue {

struct ServerOptions {
  int listening_fd = -1;   // a unix socket; owned by the caller
  log::Logger log{"postfix/qmgr"};
  // How long a message that has just come is put off before it is stored (in_flow_delay); empty: not at all.
  std::function<std::chrono::milliseconds()> flow_delay;
  // What is known of an address; empty: nobody can tell.  [fiber]
  std::function<Result<smtp::Verified>(const std::string& address, std::chrono::seconds wait)> verify;
};

// Answers to all messages of one commit leave in one write per connection.  Only processes of our own user
// (or root) are served.  Loop-local; the store outlives it.
class Server {
 public:
  // Called on the loop, outside of any fiber or on one, for each message that is stored: for the scheduler.
  // `content` is there when it is in memory, else nullptr: the store's open_content() has it.  The entry's
  // queue is incoming or hold.
  using OnStored = std::function<void(Entry entry, std::shared_ptr<const std::string> content)>;

  static std::unique_ptr<Server> start(Store& store, const ServerOptions& options, OnStored on_stored);
  // Tells one of those who observe (watcher.h), the first that keeps up; nobody is waited for.
  virtual void tell(const std::vector<std::string>& delivery) = 0;
  virtual ~Server() = default;   // ends the connections; what is under way is stored but not answered
};

}  // namespace millrace::queue
