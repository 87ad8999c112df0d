// The master: binds, forks, restarts, reloads, stops.  Single-threaded, no event library, parses
// nothing from the network.  One generation of children serves; during a reload the next one is
// prepared beside it and takes over only when every child of it is ready.
#pragma once

#include <list>
#include <set>
#include <string>

#include "core/daemon/commands.h"
#include "core/daemon/setup.h"

namespace millrace::daemon {

class Master {
 public:
  Master(std::string config_directory, Setup first, Listeners& listeners, log::Logger log);
  // Returns the exit status.  `ready_fd` >= 0 gets one byte when the first generation serves.
  int run(int ready_fd);

 private:
  struct Restart {
    Child::Kind kind;
    int slot;
    TimePoint at;
  };

  Result<void> spawn(Child::Kind kind, int slot, const Setup& setup);
  Result<void> spawn_generation(const Setup& setup);
  void take_line(Child& child, std::string_view line);
  void read_channel(Child& child);
  void reap();
  void ended(const Child& child, int status);
  void advance();            // moves generations on when all are ready
  void begin_reload();
  void refuse_reload(const std::string& why);
  void begin_stop();
  void step_stop();
  void reopen_log();
  bool any(Child::Kind kind, unsigned generation) const;
  bool all_ready(unsigned generation) const;
  static bool tell(Child& child, std::string_view word);
  int poll_timeout_ms() const;

  std::string config_directory_;
  Setup current_;
  std::unique_ptr<Setup> next_;       // while reloading
  Listeners& listeners_;
  Commands commands_;
  log::Logger log_;
  std::list<Child> children_;
  std::list<Restart> restarts_;
  std::set<std::string> reported_;    // findings of this generation, for the log
  bool queue_open_ = false;           // by the first generation
  bool serving_ = false;              // the first generation became ready
  bool failed_ = false;
  enum class Stopping { no, fronts, queue, kill } stopping_ = Stopping::no;
  TimePoint stop_step_at_;
  TimePoint reload_until_;
  int exit_status_ = 0;
  int ready_fd_ = -1;
  bool background_ = false;
};

}  // namespace millrace::daemon
