// Child processes of the master: forked without exec (the configuration is inherited), talking over a
// stream socket in lines.  Child to master: "ready", "open" (the queue is), "error TEXT", "warning TEXT".
// Master to child: "go" (act on what was prepared), "drain" (stop taking work, finish, end), "stop" (end
// now), "log" with the descriptor of a new log file.
#pragma once

#include <sys/types.h>

#include <deque>
#include <functional>
#include <memory>
#include <string>

#include "core/base/clock.h"
#include "core/base/result.h"
#include "core/config/config.h"

namespace millrace::daemon {

struct Child {
  enum class Kind { front, queue };
  enum class State { preparing, ready, running, draining };
  Kind kind = Kind::front;
  State state = State::preparing;
  int slot = 0;                 // fronts: 0 .. number of fronts - 1
  unsigned generation = 0;
  pid_t pid = -1;
  int channel = -1;             // master's end
  int commands = -1;            // master's end of a packet socket for what needs another user's rights; the queue process alone
  std::deque<std::string> answers;   // that found it full
  std::shared_ptr<const config::Config> config;   // of its generation
  uid_t owner = 0;              // mail_owner of its generation
  std::string input;            // of the channel, up to a newline
  TimePoint started;
};

// Forks; in the child `body` runs with its ends of the two sockets (commands is -1 for a front) and its return
// value is the exit status.
// Signals are reset in the child.  Must be called while the caller has no threads.
Result<Child> spawn_child(Child::Kind kind, int slot, unsigned generation,
                          const std::function<int(int channel, int commands)>& body);

// The user that runs everything but the master: mail_owner, "millrace" where it is not set and
// Postfix's default does not exist.  Not root: the current user, and names of others are an error.
struct Owner {
  uid_t uid = 0;
  gid_t gid = 0;
  std::string name;
};
Result<Owner> find_owner(const config::Config& config);
// The group that may write to the maildrop directory: setgid_group; that of mail_owner where it is not set and
// Postfix's default does not exist.
Result<gid_t> find_drop_group(const config::Config& config, const Owner& owner);
// Gives up root for good; a no-op when not root.  Checks that it cannot be taken back.
Result<void> become(const Owner& owner);

}  // namespace millrace::daemon
