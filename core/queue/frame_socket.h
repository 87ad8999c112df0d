// One end of a queue socket on a loop: frames in with their descriptors, frames out through one writer
// fiber, so that what gathered while a write was under way leaves with the next.  Shared by the front's
// client and the queue process's server.  Loop-local.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "core/net/fiber.h"
#include "core/net/stream.h"
#include "core/queue/wire.h"

namespace millrace::queue {

class FrameSocket : public std::enable_shared_from_this<FrameSocket> {
 public:
  // Owns the descriptor.
  explicit FrameSocket(int fd) : socket_(fd), fd_(fd) {}
  ~FrameSocket();
  FrameSocket(const FrameSocket&) = delete;

  // Called for each frame; `take_fd` gives the next descriptor received, -1 when there is none (then owned
  // by the caller).  false ends the connection.
  using OnFrame = std::function<bool(const wire::Frame&, const std::function<int()>& take_fd)>;

  // Spawns the writer.  Errc::limit.
  Result<void> start();
  // Reads until the connection ends; says why. [fiber]
  Error read(const OnFrame& on_frame);

  // Append whole frames to output(), then call output_added().
  std::string& output() { return output_; }
  void output_added() { wake_.set(); }
  // A frame with a descriptor (duplicated here, not owned).  Errc::limit.
  Result<void> send_with_fd(std::string frame, int fd);
  // Waits until little output is left: for those who write without end. [fiber]
  Result<void> drain();

  // Ends both directions; read() returns soon.
  void shut_down();
  bool is_down() const { return down_; }

 private:
  void write_loop();
  struct Piece {
    std::string frame;
    int fd;
  };
  net::MessageSocket socket_;
  const int fd_;   // the same one, for shutdown(2)
  std::string output_;
  std::deque<Piece> with_fd_;
  net::Event wake_, drained_;
  bool down_ = false;
};

}  // namespace millrace::queue
