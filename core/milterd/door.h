// The milter door: our filters offered to another MTA (Postfix, Sendmail) over the milter protocol.
//
// One fiber a connection, a chain shared by all; what the chain says and edits goes back as answers and edit requests.
// The message is kept until its end, as in our own server; bodies over 64 KiB in an unnamed file of `spool_directory`.
// Promise: whatever comes in, each event that wants an answer gets one, or the connection ends with a line in the log;
// a message whose edits the MTA does not allow is put off (451), never passed without them.  Belongs to one loop.
//
// Not here: opening sockets, rights, signals (tool.h).
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <unordered_set>

#include "core/base/log.h"
#include "core/filter/chain.h"
#include "core/net/stream.h"

namespace millrace::milterd {

struct DoorOptions {
  int spool_directory = -1;                     // descriptor, not owned; -1: bodies stay in memory
  std::string host_name = "localhost", mail_name = "Millrace";   // of the Received field that stands for the MTA's
  std::size_t header_limit = 2 << 20;           // octets of a header section; more is 552
  std::uint64_t body_limit = 0;                 // octets of a body; more is 552; 0: the MTA's own limit is enough
  std::chrono::seconds event_time{25};          // Postfix waits 30 s (milter_command_timeout) …
  std::chrono::seconds message_time{280};       // … and 300 s (milter_content_timeout)
};

class Door {
 public:
  Door(DoorOptions options, log::Logger log) : options_(std::move(options)), log_(std::move(log)) {}

  // Takes the place of the chain so far; sessions under way keep the old one.
  void use(std::shared_ptr<const filter::Chain> chain) { chain_ = std::move(chain); }
  // Serves one connection to its end. [fiber]
  void serve(std::unique_ptr<net::Stream> stream);
  // From here on, connections end when no message is under way on them; idle ones end at once.
  void drain();
  std::size_t connections() const { return open_; }

 private:
  friend class Conversation;
  DoorOptions options_;
  log::Logger log_;
  std::shared_ptr<const filter::Chain> chain_ = std::make_shared<const filter::Chain>();
  std::unordered_set<net::Stream*> idle_;
  std::size_t open_ = 0;
  bool draining_ = false;
};

}  // namespace millrace::milterd
