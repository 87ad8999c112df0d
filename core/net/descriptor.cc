#include "core/net/descriptor.h"

#include <fcntl.h>
#include <unistd.h>

#include <boost/asio/posix/stream_descriptor.hpp>

#include "core/net/loop_impl.h"

namespace millrace::net {

// A wait that timed out stays with Asio ("armed") and serves the next one: nothing is ever canceled but
// by close(), so a time-out costs no more than the timer.
struct Descriptor::Impl : std::enable_shared_from_this<Descriptor::Impl> {
  explicit Impl(Loop::Impl& on) : loop(on), descriptor(on.io) {}

  void arm(Direction direction) {
    const auto i = static_cast<unsigned>(direction);
    if (armed[i]) return;
    armed[i] = true;
    const auto kind = direction == Direction::read ? asio::posix::descriptor_base::wait_read
                                                   : asio::posix::descriptor_base::wait_write;
    descriptor.async_wait(kind, [self = shared_from_this(), i](const boost::system::error_code&) {
      self->armed[i] = false;
      if (ReadyHandler* const handler = std::exchange(self->handlers[i], nullptr)) {
        self->loop.slice([handler] { handler->ready(); });
      }
    });
  }

  Loop::Impl& loop;
  asio::posix::stream_descriptor descriptor;
  ReadyHandler* handlers[2] = {nullptr, nullptr};
  bool armed[2] = {false, false};
};

namespace {

struct WakeFiber final : ReadyHandler {
  explicit WakeFiber(Fiber& to_wake) : fiber(to_wake) {}
  void ready() override { wake(fiber); }
  Fiber& fiber;
};

}  // namespace

Descriptor::Descriptor(int fd) : fd_(fd) {
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & O_NONBLOCK) == 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
  impl_ = std::make_shared<Impl>(Loop::current().impl());
  boost::system::error_code error;
  impl_->descriptor.assign(fd, error);
  if (error) {  // no kernel memory to watch it: as if the peer had gone
    ::close(fd);
    fd_ = -1;
  }
}

Descriptor::~Descriptor() {
  impl_->handlers[0] = impl_->handlers[1] = nullptr;
  close();
}

void Descriptor::close() {
  if (fd_ < 0) return;
  fd_ = -1;
  boost::system::error_code ignored;
  impl_->descriptor.close(ignored);
}

int Descriptor::release() {
  impl_->handlers[0] = impl_->handlers[1] = nullptr;
  if (fd_ >= 0) impl_->descriptor.release();
  return std::exchange(fd_, -1);
}

Result<void> Descriptor::wait(Direction direction, Deadline deadline) {
  if (fd_ < 0) return fail(Errc::closed, "closed");
  WakeFiber waker(*running_fiber());
  ReadyHandler*& slot = impl_->handlers[static_cast<unsigned>(direction)];
  impl_->arm(direction);
  slot = &waker;
  const Woke woke = suspend(deadline);
  if (slot == &waker) slot = nullptr;
  if (woke != Woke::event) return wait_failure(woke);
  return {};
}

void Descriptor::notify(Direction direction, ReadyHandler* handler) {
  if (fd_ < 0) return;
  impl_->handlers[static_cast<unsigned>(direction)] = handler;
  if (handler != nullptr) impl_->arm(direction);
}

}  // namespace millrace::net
