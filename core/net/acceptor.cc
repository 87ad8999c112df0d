#include <fcntl.h>
#include <fmt/format.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/base/log.h"
#include "core/net/descriptor.h"
#include "core/net/scheduler.h"
#include "core/net/stream.h"

namespace millrace::net {

// Watches a duplicate, because several processes (and generations of them) share the listening
// socket and each closes its own.
struct Acceptor::Impl final : ReadyHandler,
                              TimerEntry,
                              std::enable_shared_from_this<Acceptor::Impl> {
  // A few per turn: the other processes that wait for the same socket get their share.
  static constexpr int kPerTurn = 8;
  static constexpr auto kRetry = std::chrono::seconds(1);

  Impl(int listening_fd, Handler handler)
      : descriptor(fcntl(listening_fd, F_DUPFD_CLOEXEC, 3)), accepted(std::move(handler)) {
    fire = [](TimerEntry& self) { static_cast<Impl&>(self).listen(); };
    listen();
  }
  ~Impl() { stop_timer(*this); }

  void listen() {
    if (!paused) descriptor.notify(Descriptor::Direction::read, this);
  }

  void ready() override {
    const std::shared_ptr<Impl> alive = shared_from_this();  // the handler may destroy the Acceptor
    for (int i = 0; i < kPerTurn && !paused; ++i) {
      const int fd = ::accept4(descriptor.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        accepted(fd);
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
        log::Logger().warning(fmt::format("accept connection: {}", std::strerror(errno)));
        at = SteadyClock::now() + kRetry;
        stop_timer(*this);
        start_timer(*this);
        return;
      } else if (errno == EAGAIN || errno == EBADF || errno == EINVAL) {
        break;
      }  // else the connection went away before we took it
    }
    listen();
  }

  Descriptor descriptor;
  Handler accepted;
  bool paused = false;
};

Acceptor::Acceptor(int listening_fd, Handler accepted)
    : impl_(std::make_shared<Impl>(listening_fd, std::move(accepted))) {}

Acceptor::~Acceptor() {
  pause();
  impl_->descriptor.close();
}

void Acceptor::pause() {
  impl_->paused = true;
  impl_->descriptor.notify(Descriptor::Direction::read, nullptr);
}

void Acceptor::resume() {
  impl_->paused = false;
  impl_->listen();
}

}  // namespace millrace::net
