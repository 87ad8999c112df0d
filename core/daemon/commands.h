// The master's part in running what needs another user's rights: forks a child for each request of the queue
// process and for each client of a spawn service, keeps time limits and process limits, reports the end.
//
// It decodes our own bounded frames and nothing else; what is run and as whom is decided in the child, from
// the configuration (core/local/task.h).  [master, no threads]
#pragma once

#include <sys/types.h>

#include <list>
#include <map>
#include <string>
#include <vector>

#include "core/base/clock.h"
#include "core/base/log.h"
#include "core/daemon/child.h"
#include "core/daemon/setup.h"
#include "core/local/task.h"

namespace millrace::daemon {

class Commands {
 public:
  explicit Commands(log::Logger log) : log_(std::move(log)) {}

  // Takes the requests that have arrived on the child's command socket.
  void take_requests(Child& child);
  // Sends answers that found the socket full.
  static void send_answers(Child& child);
  // A client of spawn service `place` of the setup waits.
  void accept_client(const Setup& setup, std::size_t place);
  // May the service take another client now?
  bool has_room(const Setup& setup, std::size_t place) const;

  // A process ended; true when it was one of these.  `find` gives the child that asked, or nullptr.
  bool reaped(pid_t pid, int status, const std::function<Child*(pid_t)>& find);
  // The process that asked is gone: nobody wants the outcome any more.
  void forget(pid_t child);
  // Ends what has run too long.
  void keep_limits();
  TimePoint next_limit() const;
  void kill_all();

 private:
  struct Running {
    pid_t pid = -1;
    pid_t asked_by = 0;       // 0: a client of a spawn service
    std::uint32_t id = 0;
    std::string service;
    TimePoint limit;
    bool timed_out = false;
  };
  void start(Child& child, const local::Request& request, const std::vector<int>& fds);
  std::size_t running(pid_t asked_by, const std::string& service) const;
  static void answer(Child& child, local::Answer answer);
  static local::Rulers rulers(uid_t mail_owner);

  log::Logger log_;
  std::list<Running> running_;
};

}  // namespace millrace::daemon
