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
  explicit FrameSocket(int fd) : socket_(fd) {}
  ~FrameSocket();
  FrameSocket(const FrameSocket&) = delete;

  // Called for each frame; `take_fd` gives the next descriptor received, -1 when there is none (then owned
  // by the caller).  false ends the connection.
  using OnFrame = std::function<bool(const wire::Frame&, const std::function<int()>& take_fd)>;

  // Spawns the writer.  Errc::limit.
  Result<void> start();
  // Reads until the connection ends; says why. [fiber]
  Error read(const OnFrame& on_frame);

  // `put` appends frames to the output.
  std::string& output() { return output_; }
  void output_added() { wake_.set(); }
  // A frame with a descriptor (not owned; duplicated here).  Its frame must have been appended alone, as
  // `frame`.
  Result<void> send_with_fd(std::string frame, int fd);
  std::size_t output_bytes() const { return output_.size() + with_fd_bytes_; }

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
  int shutdown_fd_ = -1;
  std::string output_;
  std::deque<Piece> with_fd_;
  std::size_t with_fd_bytes_ = 0;
  net::Event wake_;
  bool down_ = false;
};

}  // namespace millrace::queue
