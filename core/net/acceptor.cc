#include <fcntl.h>
#include <fmt/format.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/log.h"
#include "core/net/scheduler.h"
#include "core/net/stream.h"

namespace millrace::net {

// Watches a duplicate, because several processes (and generations of them) share the listening
// socket and each closes its own.  A connection wakes one of those that sleep, and one that is busy leaves
// it to the others (EPOLLEXCLUSIVE; level-triggered, so that what was left is told again).
struct Acceptor::Impl final : Polled, TimerEntry, std::enable_shared_from_this<Acceptor::Impl> {
  // A few per turn: the other processes that wait for the same socket get their share.
  static constexpr int kPerTurn = 8;
  static constexpr auto kRetry = std::chrono::seconds(1);

  Impl(int listening_fd, Handler handler)
      : fd(fcntl(listening_fd, F_DUPFD_CLOEXEC, 3)), accepted(std::move(handler)) {
    const int flags = fcntl(fd, F_GETFL);
    if ((flags & O_NONBLOCK) == 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
    fire = [](TimerEntry& self) { static_cast<Impl&>(self).listen(); };
    listen();
  }
  ~Impl() {
    stop_timer(*this);
    if (fd >= 0) ::close(fd);
  }

  void listen() {
    if (listening || paused) return;
    listening = watch_descriptor(fd, EPOLLIN | EPOLLEXCLUSIVE, *this, true);
    if (!listening) retry("cannot watch a listening socket: out of kernel memory");
  }

  void rest() {
    if (std::exchange(listening, false)) unwatch_descriptor(fd);
    keep_this_round(shared_from_this());
  }

  void retry(const char* why) {
    log::Logger().warning(fmt::format("accept connection: {}", why));
    at = SteadyClock::now() + kRetry;
    stop_timer(*this);
    start_timer(*this);
  }

  void happened(std::uint32_t) override {
    const std::shared_ptr<Impl> alive = shared_from_this();  // the handler may destroy the Acceptor
    for (int i = 0; i < kPerTurn && listening; ++i) {
      const int made = ::accept4(fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (made >= 0) {
        accepted(made);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        const int error = errno;
        rest();
        return retry(std::strerror(error));
      } else if (errno == EAGAIN || errno == EBADF || errno == EINVAL) {
        break;
      }  // else the connection went away before we took it
    }
  }

  int fd;
  Handler accepted;
  bool paused = false, listening = false;
};

Acceptor::Acceptor(int listening_fd, Handler accepted)
    : impl_(std::make_shared<Impl>(listening_fd, std::move(accepted))) {}

Acceptor::~Acceptor() {
  pause();
  stop_timer(*impl_);
}

void Acceptor::pause() {
  impl_->paused = true;
  impl_->rest();
}

void Acceptor::resume() {
  impl_->paused = false;
  impl_->listen();
}

}  // namespace millrace::net
