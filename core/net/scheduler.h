// Inside of core/net: how its files suspend and wake fibers and use the loop's timers.
// Nothing outside of core/net includes this.
#pragma once

#include <cstdint>

#include "core/net/fiber.h"
#include "core/net/timer_heap.h"

namespace millrace::net {

enum class Woke : std::uint8_t { not_yet, event, timeout, canceled };
enum class Cancel : std::uint8_t { allowed, ignored };

Fiber* running_fiber();  // null on the loop's own stack

// Suspends the running fiber until wake(), the deadline, or cancel_all().
Woke suspend(Deadline deadline, Cancel cancel = Cancel::allowed);
// [loop thread] No-op when the fiber was woken already.
void wake(Fiber& fiber);
bool loop_canceled();

// The error that a wait returns for the two ways to be woken without what was waited for.
tl::unexpected<Error> wait_failure(Woke woke);

// Calls `call(argument)` on the loop's own stack while the fiber stands still: for library code
// whose need of stack is not known.
void on_loop_stack_erased(void (*call)(void*), void* argument);
template <typename F>
void on_loop_stack(F&& work) {
  on_loop_stack_erased([](void* f) { (*static_cast<std::remove_reference_t<F>*>(f))(); }, &work);
}

void start_timer(TimerEntry& entry);  // entry.at and entry.fire are set
void stop_timer(TimerEntry& entry);

// A descriptor in the loop's epoll set.
class Polled {
 public:
  virtual void happened(std::uint32_t events) = 0;  // EPOLL* bits; on the loop's stack

 protected:
  ~Polled() = default;
};
// EPOLL_CTL_ADD when `fresh`, else EPOLL_CTL_MOD, which looks at the descriptor's state again.
bool watch_descriptor(int fd, std::uint32_t events, Polled& polled, bool fresh);
void unwatch_descriptor(int fd);
// Keeps what the kernel may have reported already until this round of reports is over.
void keep_this_round(std::shared_ptr<void> polled);

// A way to reach a loop from other threads that stays valid when the loop is gone (then a no-op).
class Remote {
 public:
  virtual ~Remote() = default;
  virtual void post(std::function<void()> task) = 0;  // [any thread]
};
std::shared_ptr<Remote> remote_of_loop();

}  // namespace millrace::net
