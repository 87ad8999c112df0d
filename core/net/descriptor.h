// Inside of core/net: a non-blocking descriptor of this thread's loop, and waiting for it.
// The rule for users: about_to_read(), the system call, and wait only on EAGAIN (or after a read
// that took less than it asked for: the socket was empty then).
#pragma once

#include <memory>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace millrace::net {

// What is told when a descriptor is ready, on the loop's stack.
class ReadyHandler {
 public:
  virtual void ready() = 0;

 protected:
  ~ReadyHandler() = default;
};

class Descriptor {
 public:
  enum class Direction : unsigned char { read, write };

  explicit Descriptor(int fd);  // owned; made non-blocking
  ~Descriptor();
  Descriptor(const Descriptor&) = delete;

  int fd() const { return fd_; }  // -1 after close() and release()
  void close();
  int release();  // stops watching; the caller owns the descriptor again

  // To be called before a read is tried: what arrives from here on makes wait() return.  [any
  // thread that has the connection to itself]
  void about_to_read();
  // [fiber] One fiber per direction.  Errors: timeout, canceled, closed, io.
  Result<void> wait(Direction direction, Deadline deadline);
  // Tells `handler` once, at the next turn of the loop if it is ready now; null takes the request
  // back.
  void notify(Direction direction, ReadyHandler* handler);

 private:
  struct Impl;
  std::shared_ptr<Impl> impl_;
  int fd_;
};

}  // namespace millrace::net
