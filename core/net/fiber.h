// Fibers and the event loop of a thread: straight-line code that suspends instead of blocking.
//
// One Loop per thread.  A fiber lives and dies on the thread that spawned it.  Nothing a fiber may
// wait in holds a lock, sits in a catch block, is a destructor, or has an LMDB read transaction
// open. Cancel = the wait returns Errc::canceled and the code returns; a suspended fiber is never
// destroyed.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "core/base/clock.h"
#include "core/base/result.h"

namespace millrace::net {

enum class Stack { session, plugin, lua };  // 64, 256, 512 KiB (double under sanitizers)

class Fiber;  // opaque

class Loop {
 public:
  Loop();
  ~Loop();
  Loop(const Loop&) = delete;

  static Loop& current();  // of this thread; asserts that there is one
  static Loop* current_or_null();

  void run();                             // until stop(); [the loop's thread]
  void stop();                            // [any thread]
  void post(std::function<void()> task);  // [any thread]; runs on the loop, outside of any fiber
  // Starts a fiber that runs `body`.  Errc::limit when the process cannot have more stacks
  // (vm.max_map_count); the caller answers 421.  [loop]
  Result<void> spawn(Stack stack, std::function<void()> body);

  std::size_t fibers() const;  // alive now
  // Wakes every suspended fiber of this loop with Errc::canceled, now and at each later wait: the
  // last step of a shutdown.
  void cancel_all();

  struct Impl;
  Impl& impl() { return *impl_; }

 private:
  std::unique_ptr<Impl> impl_;
};

bool in_fiber();  // is the caller running on a fiber?

// One fiber waits, somebody sets.  Sticky: set() before wait() makes wait() return at once.
class Event {
 public:
  Event();
  ~Event();
  Event(const Event&) = delete;
  Result<void> wait(Deadline deadline);  // [fiber]; errors: timeout, canceled
  void set();                            // [loop thread]; for other threads use notifier()
  void reset();
  // A function that sets this event from any thread, also after the Event is gone (then a no-op).
  std::function<void()> notifier();
  struct State;

 private:
  std::shared_ptr<State> state_;
};

// At most `limit` holders; others queue in order.  Loop-local.  limit 0: no limit.
class Gate {
 public:
  explicit Gate(std::size_t limit) : limit_(limit) {}
  Result<void> enter(Deadline deadline);  // [fiber]
  void leave();
  std::size_t inside() const { return inside_; }

 private:
  std::size_t limit_, inside_ = 0;
  struct Waiter {
    Event* event;
  };
  std::vector<Waiter*> waiters_;
};

Result<void> sleep_until(Deadline deadline);  // [fiber]; errors: canceled only

// Runs `work` on the bounded worker pool while the fiber is suspended.  It runs to its end even
// when the fiber is canceled meanwhile (the fiber then waits for it): `work` may use the fiber's
// locals.
void offload_erased(const std::function<void()>& work);
template <typename F>
auto offload(F&& work) -> std::invoke_result_t<F> {
  if constexpr (std::is_void_v<std::invoke_result_t<F>>) {
    offload_erased(std::forward<F>(work));
  } else {
    std::optional<std::invoke_result_t<F>> out;
    offload_erased([&] { out.emplace(work()); });
    return std::move(*out);
  }
}

// What the watchdog reports: `holder` names the plugin or script that runs now on this loop (""
// when it is our own code).  Set around calls of foreign code; loop lag over 100 ms is logged with
// it.
class LoopHolder {
 public:
  explicit LoopHolder(const char* name);
  ~LoopHolder();

 private:
  const char* previous_;
};

}  // namespace millrace::net
