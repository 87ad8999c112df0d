// Event, Gate and sleep: what fibers wait for besides sockets.
#include <algorithm>

#include "core/base/assert.h"
#include "core/net/scheduler.h"

namespace millrace::net {

struct Event::State {
  bool is_set = false;
  Fiber* waiter = nullptr;

  void set() {
    is_set = true;
    if (waiter != nullptr) wake(*waiter);
  }
};

Event::Event() : state_(std::make_shared<State>()) {}
Event::~Event() = default;
void Event::set() { state_->set(); }
void Event::reset() { state_->is_set = false; }

Result<void> Event::wait(Deadline deadline) {
  if (state_->is_set) return {};
  MR_ASSERT(state_->waiter == nullptr);
  state_->waiter = running_fiber();
  const Woke woke = suspend(deadline);
  state_->waiter = nullptr;
  if (state_->is_set || woke == Woke::event) return {};
  return wait_failure(woke);
}

std::function<void()> Event::notifier() {
  return [remote = remote_of_loop(), weak = std::weak_ptr<State>(state_)] {
    remote->post([weak] {
      if (const std::shared_ptr<State> state = weak.lock()) state->set();
    });
  };
}

Result<void> Gate::enter(Deadline deadline) {
  if (limit_ == 0 || (inside_ < limit_ && waiters_.empty())) {
    ++inside_;
    return {};
  }
  Event turn;
  Waiter self{&turn};
  waiters_.push_back(&self);
  const Result<void> waited = turn.wait(deadline);
  // When the turn came, leave() has counted us in and taken us off the list.
  if (!waited) waiters_.erase(std::find(waiters_.begin(), waiters_.end(), &self));
  return waited;
}

void Gate::leave() {
  MR_ASSERT(inside_ > 0);
  if (waiters_.empty()) {
    --inside_;
    return;
  }
  Waiter* const next = waiters_.front();  // takes our place: nobody can slip in between
  waiters_.erase(waiters_.begin());
  next->event->set();
}

Result<void> sleep_until(Deadline deadline) {
  const Woke woke = suspend(deadline);
  if (woke == Woke::canceled) return wait_failure(woke);
  return {};
}

}  // namespace millrace::net
