// The kernel remembers us from the first wait on (edge-triggered, one epoll_ctl in a connection's
// life for a plain dialogue), so that an edge may come while nobody waits: `edge` remembers that.
#include "core/net/descriptor.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "core/net/scheduler.h"

namespace millrace::net {

struct Descriptor::Impl final : Polled {
  explicit Impl(int on) : fd(on) {}

  bool watch(std::uint32_t wanted) {
    const bool fresh = interest == 0;
    interest |= wanted;
    return watch_descriptor(fd, interest | EPOLLET, *this, fresh);
  }

  void unwatch() {
    if (interest != 0) unwatch_descriptor(fd);
    interest = 0;
    fd = -1;
  }

  void happened(std::uint32_t events) override {
    if (fd < 0) return;  // closed by somebody who was told earlier in the same round
    const bool broken = (events & (EPOLLERR | EPOLLHUP)) != 0;
    // The end may come in one edge with the last data, and there is no other edge after it.
    ended = ended || broken || (events & EPOLLRDHUP) != 0;
    if (ended || (events & EPOLLIN) != 0) {
      edge = true;
      tell(0);
    }
    if (broken || (events & EPOLLOUT) != 0) tell(1);
  }

  void tell(int i) {
    if (ReadyHandler* const handler = std::exchange(handlers[i], nullptr)) handler->ready();
  }

  int fd;
  std::uint32_t interest = 0;
  ReadyHandler* handlers[2] = {nullptr, nullptr};
  bool edge = false, ended = false;
};

namespace {

struct WakeFiber final : ReadyHandler {
  explicit WakeFiber(Fiber& to_wake) : fiber(to_wake) {}
  void ready() override { wake(fiber); }
  Fiber& fiber;
};

}  // namespace

Descriptor::Descriptor(int fd) : impl_(std::make_shared<Impl>(fd)), fd_(fd) {
  const int flags = fcntl(fd, F_GETFL);
  if ((flags & O_NONBLOCK) == 0) fcntl(fd, F_SETFL, flags | O_NONBLOCK);
}

Descriptor::~Descriptor() {
  impl_->handlers[0] = impl_->handlers[1] = nullptr;
  close();
}

void Descriptor::close() {
  if (fd_ < 0) return;
  const std::shared_ptr<Impl> impl = impl_;
  ::close(release());
  impl->tell(0);  // who waits finds out that it is closed
  impl->tell(1);
}

int Descriptor::release() {
  if (fd_ < 0) return -1;
  impl_->unwatch();
  keep_this_round(impl_);
  return std::exchange(fd_, -1);
}

void Descriptor::about_to_read() { impl_->edge = false; }

Result<void> Descriptor::wait(Direction direction, Deadline deadline) {
  if (fd_ < 0) return fail(Errc::closed, "closed");
  if (loop_canceled()) return wait_failure(Woke::canceled);
  const std::shared_ptr<Impl> impl = impl_;
  const bool read = direction == Direction::read;
  if (read && (impl->edge || impl->ended)) return {};
  const bool watched = (impl->interest & EPOLLIN) != 0 && read;
  if (!watched && !impl->watch(read ? EPOLLIN | EPOLLRDHUP : EPOLLOUT)) {
    return fail(Errc::io, "cannot watch a descriptor: out of kernel memory");
  }
  WakeFiber waker(*running_fiber());
  ReadyHandler*& slot = impl->handlers[static_cast<unsigned>(direction)];
  slot = &waker;
  const Woke woke = suspend(deadline);
  if (slot == &waker) slot = nullptr;
  if (woke != Woke::event) return wait_failure(woke);
  return {};
}

void Descriptor::notify(Direction direction, ReadyHandler* handler) {
  if (fd_ < 0) return;
  impl_->handlers[static_cast<unsigned>(direction)] = handler;
  // Asks the kernel each time, so that what was left unread is told again.
  if (handler != nullptr) impl_->watch(direction == Direction::read ? EPOLLIN : EPOLLOUT);
}

}  // namespace millrace::net
