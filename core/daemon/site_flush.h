// ETRN's way to the queue process: "try mail for this destination now", over the control socket.
//
// A flush looks at all deferred mail, and anybody may send ETRN: a destination that was asked for a moment ago
// is not asked for again, and no more than a few different ones are asked for in that time.  One per front.
#pragma once

#include <deque>
#include <string>

#include "core/base/clock.h"

namespace millrace::daemon {

class SiteFlush {
 public:
  explicit SiteFlush(std::string socket_path) : socket_path_(std::move(socket_path)) {}
  // Was the queue process told, now or a moment ago?  [fiber]; waits a few seconds at most.
  bool ask(const std::string& destination);

 private:
  bool tell(const std::string& destination) const;
  struct Asked {
    std::string destination;
    TimePoint when;
  };
  std::string socket_path_;
  std::deque<Asked> recent_;   // oldest first
};

}  // namespace millrace::daemon
