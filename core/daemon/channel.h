// A child's end of its channel to the master: findings out, "go", "drain" and "stop" in.
#pragma once

#include <functional>
#include <string_view>

#include "core/config/config.h"

namespace millrace::daemon {

class Channel {
 public:
  // `log_fd`: what a new log file, sent by the master with the word "log", takes the place of.
  Channel(int fd, int log_fd) : fd_(fd), log_fd_(log_fd) {}

  // Before the loop runs; blocking, a line each.
  void report(const config::Findings& findings);
  void error(std::string_view text);
  void ready();
  // Whenever it is so.
  void queue_open();

  // Reads lines on a fiber of this thread's loop and hands them on; "stop" when the master is gone.
  void listen(std::function<void(std::string_view word)> handler);

 private:
  void line(std::string_view word, std::string_view text);
  int fd_, log_fd_;
};

}  // namespace millrace::daemon
