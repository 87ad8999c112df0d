#include "core/queue/frame_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

namespace millrace::queue {
namespace {

constexpr std::chrono::seconds kWriteTime{300};   // a peer that reads nothing for so long is dead
constexpr std::size_t kLittle = 256 * 1024;

}  // namespace

FrameSocket::~FrameSocket() {
  for (const Piece& piece : with_fd_) ::close(piece.fd);
}

Result<void> FrameSocket::start() {
  return net::Loop::current().spawn(net::Stack::session, [self = shared_from_this()] { self->write_loop(); });
}

void FrameSocket::shut_down() {
  if (down_) return;
  down_ = true;
  ::shutdown(fd_, SHUT_RDWR);
  wake_.set();
  drained_.set();
}

Result<void> FrameSocket::send_with_fd(std::string frame, int fd) {
  const int own = ::fcntl(fd, F_DUPFD_CLOEXEC, 0);
  if (own < 0) return fail(Errc::limit, std::string("duplicate a descriptor: ") + std::strerror(errno));
  with_fd_.push_back({std::move(frame), own});
  wake_.set();
  return {};
}

Result<void> FrameSocket::drain() {
  while (!down_ && output_.size() > kLittle) {
    drained_.reset();
    if (Result<void> waited = drained_.wait(Deadline::after(kWriteTime)); !waited) return waited;
  }
  if (down_) return fail(Errc::closed, "the peer went away");
  return {};
}

void FrameSocket::write_loop() {
  std::string batch;
  while (!down_) {
    if (output_.empty() && with_fd_.empty()) {
      wake_.reset();
      if (!wake_.wait(Deadline::never())) break;
      continue;
    }
    if (!output_.empty()) {
      batch.clear();
      batch.swap(output_);
      drained_.set();
      if (!socket_.send(batch, {}, Deadline::after(kWriteTime))) break;
      if (batch.capacity() > kLittle) batch = {};
    }
    if (!with_fd_.empty()) {
      const Piece piece = std::move(with_fd_.front());
      with_fd_.pop_front();
      const int fds[] = {piece.fd};
      const Result<void> sent = socket_.send(piece.frame, fds, Deadline::after(kWriteTime));
      ::close(piece.fd);
      if (!sent) break;
    }
  }
  shut_down();
}

Error FrameSocket::read(const OnFrame& on_frame) {
  std::string input;
  std::vector<int> fds;
  const auto take_fd = [&fds] {
    if (fds.empty()) return -1;
    const int fd = fds.front();
    fds.erase(fds.begin());
    return fd;
  };
  Error why{Errc::closed, "ended"};
  while (!down_) {
    if (Result<void> received = socket_.receive(input, fds, Deadline::never()); !received) {
      why = received.error();
      break;
    }
    std::size_t used = 0;
    bool good = true;
    while (good && !down_) {
      const wire::Frame frame = wire::decode(std::string_view(input).substr(used));
      if (frame.status == wire::DecodeStatus::need_more) break;
      good = frame.status == wire::DecodeStatus::ok && on_frame(frame, take_fd);
      used += frame.consumed;
    }
    input.erase(0, used);
    if (!good) {
      why = {Errc::protocol, "malformed frame"};
      break;
    }
  }
  for (const int fd : fds) ::close(fd);
  shut_down();
  return why;
}

}  // namespace millrace::queue
