#include <cxxabi.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <new>

#include "core/base/assert.h"
#include "core/base/coarse_clock.h"
#include "core/net/loop_impl.h"
#include "core/net/nested.h"
#include "core/net/sanitizer.h"

namespace millrace::net {
namespace {

thread_local Loop* this_loop = nullptr;

constexpr auto kTrimInterval = std::chrono::seconds(1);

Loop::Impl& here() {
  MR_ASSERT(this_loop != nullptr);
  return this_loop->impl();
}

void swap_exceptions(ExceptionState& out, const ExceptionState& in) {
  void* globals = abi::__cxa_get_globals();
  std::memcpy(&out, globals, sizeof out);
  std::memcpy(globals, &in, sizeof in);
}

}  // namespace

struct Loop::Impl::LoopRemote : Remote {
  void post(std::function<void()> task) override {
    const std::lock_guard lock(mutex);
    if (loop == nullptr) return;
    loop->post(std::move(task));
  }
  std::mutex mutex;
  Loop::Impl* loop = nullptr;
};

// --- the loop -----------------------------------------------------------------------------------

Loop::Impl::Impl(Loop& owner) : outer(this_loop) {
  remote = std::make_shared<LoopRemote>();
  remote->loop = this;
  this_loop = &owner;
  trimmer.loop = this;
  trimmer.fire = [](TimerEntry& self) {
    if constexpr (!kSanitized) static_cast<Trimmer&>(self).loop->trim_stacks();
  };
  epoll = epoll_create1(EPOLL_CLOEXEC);
  wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{};
  event.events = EPOLLIN | EPOLLET;
  event.data.ptr = nullptr;
  // As with memory: a process without descriptors at its start cannot do anything.
  if (epoll < 0 || wake_fd < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, wake_fd, &event) != 0) throw std::bad_alloc();
}

void Loop::Impl::wake_up() {
  const std::uint64_t one = 1;
  (void)!::write(wake_fd, &one, sizeof one);
}

// All of it under the lock: a loop that is awake may run the task at once, and end with it.
void Loop::Impl::post(std::function<void()> task) {
  const std::lock_guard lock(tasks_mutex);
  tasks.push_back(std::move(task));
  if (asleep.exchange(false)) wake_up();
}

// Until something is ready, a timer is due, or somebody posts.  Does not sleep past `until`.
int Loop::Impl::wait(TimePoint until, epoll_event* events, int room) {
  if (!timers.empty()) until = std::min(until, timers.first().at);
  bool pending = ready_first != nullptr || stop_wanted;
  if (!pending) {
    asleep = true;   // before the look at the tasks: who posts after it sees that a wake-up is needed
    const std::lock_guard lock(tasks_mutex);
    pending = !tasks.empty();
  }
  timespec span{}, *timeout = &span;
  if (!pending && until == TimePoint::max()) {
    timeout = nullptr;
  } else if (!pending) {
    const auto left = std::max(until - SteadyClock::now(), SteadyClock::duration::zero());
    const auto whole = std::chrono::duration_cast<std::chrono::seconds>(left);
    span.tv_sec = whole.count();
    span.tv_nsec = std::chrono::nanoseconds(left - whole).count();
  }
  int n = epoll_pwait2(epoll, events, room, timeout, nullptr);
  if (n < 0 && errno != EINTR) {   // a kernel or a container of before 2021
    constexpr auto kLongest = std::chrono::hours(1);
    const std::chrono::nanoseconds left = std::chrono::seconds(span.tv_sec) + std::chrono::nanoseconds(span.tv_nsec);
    const auto rounded = std::chrono::ceil<std::chrono::milliseconds>(std::min<std::chrono::nanoseconds>(left, kLongest));
    n = epoll_wait(epoll, events, room, timeout == nullptr ? -1 : static_cast<int>(rounded.count()));
  }
  asleep = false;
  return n;
}

// Watched, and followed by the fibers that were made ready.
void Loop::Impl::turn(TimePoint until) {
  epoll_event events[128];  // what does not fit is reported at the next turn
  const int n = wait(until, events, std::size(events));
  watch.begin();
  guarded([&] {
    reporting = true;
    for (int i = 0; i < n; ++i) {
      if (events[i].data.ptr != nullptr) static_cast<Polled*>(events[i].data.ptr)->happened(events[i].events);
    }
    reporting = false;
    kept.clear();
  });
  run_tasks();
  fire_timers();
  run_ready();
  watch.end(logger);
}

// Those that were there at the beginning: what they post has its turn later.
void Loop::Impl::run_tasks() {
  std::vector<std::function<void()>> now;
  {
    const std::lock_guard lock(tasks_mutex);
    now.swap(tasks);
  }
  for (std::function<void()>& task : now) {
    guarded(task);
    task = nullptr;
  }
}

Loop::Impl::~Impl() {
  // Suspended fibers are never destroyed, they are told to go: their waits fail from now on.  One
  // that holds out longer than this (work on the pool that does not end) is leaked with its stack.
  cancel_all();
  const TimePoint patience = SteadyClock::now() + std::chrono::seconds(10);
  stop_wanted = false;
  while (fiber_count > 0 && SteadyClock::now() < patience)
    turn(SteadyClock::now() + std::chrono::milliseconds(50));
  for (auto& kind : idle) {
    for (Fiber* const fiber : kind) ++fiber_count, destroy(*fiber);
    kind.clear();
  }
  {
    const std::lock_guard lock(remote->mutex);
    remote->loop = nullptr;
  }
  tasks.clear();   // what they hold may want the loop
  const std::lock_guard last(tasks_mutex);   // whoever posts or stops has left
  this_loop = outer;
  ::close(wake_fd);
  ::close(epoll);
}

Loop::Loop() : impl_(std::make_unique<Impl>(*this)) {}
Loop::~Loop() = default;

Loop& Loop::current() {
  MR_ASSERT(this_loop != nullptr);
  return *this_loop;
}

Loop* Loop::current_or_null() { return this_loop; }

void Loop::run() {
  Loop* const before = std::exchange(this_loop, this);
  while (!impl_->stop_wanted.exchange(false)) impl_->turn(TimePoint::max());
  this_loop = before;
}

void Loop::stop() {
  const std::lock_guard lock(impl_->tasks_mutex);
  impl_->stop_wanted = true;
  impl_->wake_up();
}

void Loop::post(std::function<void()> task) { impl_->post(std::move(task)); }

Result<void> Loop::spawn(Stack stack, std::function<void()> body) {
  return impl_->spawn(stack, std::move(body));
}

Result<bool> run_nested(Stack stack, std::function<void()> body) { return here().run_nested(stack, std::move(body)); }

std::size_t Loop::fibers() const { return impl_->fiber_count; }
void Loop::cancel_all() { impl_->cancel_all(); }
bool in_fiber() { return running_fiber() != nullptr; }

void Loop::Impl::report_exception(const char* what) {
  log::Logger().error(fmt::format("exception left a task or fiber: {}", what));
}

// --- fibers -------------------------------------------------------------------------------------

// nullptr: the process has as many stacks as it may.
Fiber* Loop::Impl::make_fiber(Stack kind) {
  const std::optional<StackMemory> memory = stacks.take(kind);
  if (!memory) return nullptr;
  constexpr std::size_t kAlign = 64;
  static_assert(alignof(Fiber) <= kAlign);
  char* top = memory->base + memory->size - (sizeof(Fiber) + kAlign - 1) / kAlign * kAlign;
  Fiber& fiber = *new (top) Fiber;
  fiber.memory = *memory;
  fiber.kind = kind;
  fiber.loop = this;
  fiber.fire = [](TimerEntry& self) {
    Fiber& timed_out = static_cast<Fiber&>(self);
    timed_out.loop->wake(timed_out, Woke::timeout);
  };
  fiber.sanitizer = sanitizer_new_fiber();
  fiber.context = boost::context::detail::make_fcontext(
      top, static_cast<std::size_t>(top - memory->base), [](auto from) { fiber_main(from); });
  fiber.older = fibers;
  if (fibers != nullptr) fibers->newer = &fiber;
  fibers = &fiber;
  if (trimmer.index == TimerEntry::kOut) {
    trimmer.at = SteadyClock::now() + kTrimInterval;
    timers.insert(trimmer);
  }
  return &fiber;
}

namespace {
tl::unexpected<Error> no_stack() { return fail(Errc::limit, "no more stacks (vm.max_map_count)"); }
}  // namespace

Result<void> Loop::Impl::spawn(Stack kind, std::function<void()> body) {
  Fiber* const fiber = make_fiber(kind);
  if (fiber == nullptr) return no_stack();
  fiber->body = std::move(body);
  ++fiber_count;
  make_ready(*fiber);
  return {};
}

Result<bool> Loop::Impl::run_nested(Stack kind, std::function<void()> body) {
  auto& waiting = idle[static_cast<std::size_t>(kind)];
  Fiber* fiber = nullptr;
  if (!waiting.empty()) {
    fiber = waiting.back();
    waiting.pop_back();
  } else {
    fiber = make_fiber(kind);
    if (fiber == nullptr) return no_stack();
    fiber->stays = true;
  }
  bool ended = false;
  fiber->body = std::move(body);
  fiber->ended = &ended;
  ++fiber_count;
  resume(*fiber);
  if (!ended) fiber->ended = nullptr;
  return ended;
}

// [on the fiber] Until the next body.  Nobody can wake it, and it needs no wait of its own.
void Loop::Impl::park(Fiber& fiber) {
  fiber.suspended = true;
  fiber.cancelable = false;
  fiber.woke = Woke::event;
  --fiber_count;
  idle[static_cast<std::size_t>(fiber.kind)].push_back(&fiber);
  switch_to_caller(fiber);
}

// A session that waits needs the page or two that its frames are in; what deeper calls touched once would
// stay with it for hours.  Looked at now and then rather than at each wait: a busy fiber pays nothing.
void Loop::Impl::trim_stacks() {
  constexpr std::uintptr_t kPage = 4096, kRedZone = 256;
  for (Fiber* fiber = fibers; fiber != nullptr; fiber = fiber->older) {
    if (!fiber->suspended || fiber->runs != fiber->runs_seen) {
      fiber->runs_seen = fiber->runs;
      fiber->trimmed = false;
    } else if (!fiber->trimmed) {
      fiber->trimmed = true;
      const auto base = reinterpret_cast<std::uintptr_t>(fiber->memory.base);
      const std::uintptr_t end = (reinterpret_cast<std::uintptr_t>(fiber->context) - kRedZone) & ~(kPage - 1);
      if (end > base) madvise(fiber->memory.base, end - base, MADV_DONTNEED);
    }
  }
  if (fiber_count == 0) return;
  trimmer.at = SteadyClock::now() + kTrimInterval;
  timers.insert(trimmer);
}

void Loop::Impl::fiber_main(boost::context::detail::transfer_t from) {
  Fiber& self = *static_cast<Fiber*>(from.data);
  Loop::Impl& loop = *self.loop;
  sanitizer_arrive(nullptr, &loop.caller.stack, &loop.caller.stack_size);
  loop.caller.context = from.fctx;
  for (;;) {
    guarded(self.body);
    self.body = nullptr;  // what it holds is destroyed on the fiber
    if (self.ended != nullptr) *std::exchange(self.ended, nullptr) = true;
    if (!self.stays || loop.canceled || loop.idle[static_cast<std::size_t>(self.kind)].size() >= kIdle) break;
    loop.park(self);
  }
  self.done = true;
  sanitizer_leave(nullptr, loop.caller.stack, loop.caller.stack_size);
  sanitizer_switch(loop.caller.sanitizer);
  boost::context::detail::jump_fcontext(loop.caller.context, nullptr);
  __builtin_unreachable();
}

// From the loop's stack, or a fiber's, into the fiber, until it suspends or ends.
void Loop::Impl::resume(Fiber& fiber) {
  Fiber* const outer = running;
  do {
    if (fiber.loop_call != nullptr) {
      const auto call = std::exchange(fiber.loop_call, nullptr);
      if (outer == nullptr) call(fiber.loop_call_argument);
      else on_loop_stack_erased(call, fiber.loop_call_argument);
    }
    const Caller ours = caller;
    fiber.suspended = false;
    ++fiber.runs;
    running = &fiber;
    ExceptionState own;
    swap_exceptions(own, fiber.exceptions);
    const char* const own_holder = watch.swap_holder(fiber.holder);
    void* fake = nullptr;
    sanitizer_leave(&fake, fiber.memory.base, fiber.memory.size);
    caller.sanitizer = sanitizer_this_fiber();
    sanitizer_switch(fiber.sanitizer);
    fiber.context = boost::context::detail::jump_fcontext(fiber.context, &fiber).fctx;
    sanitizer_arrive(fake, nullptr, nullptr);
    fiber.holder = watch.swap_holder(own_holder);
    swap_exceptions(fiber.exceptions, own);
    running = outer;
    caller = ours;
  } while (fiber.loop_call != nullptr);
  if (fiber.done) destroy(fiber);
}

void Loop::Impl::switch_to_caller(Fiber& fiber) {
  sanitizer_leave(&fiber.fake_stack, caller.stack, caller.stack_size);
  sanitizer_switch(caller.sanitizer);
  const auto from = boost::context::detail::jump_fcontext(caller.context, nullptr);
  sanitizer_arrive(fiber.fake_stack, &caller.stack, &caller.stack_size);
  caller.context = from.fctx;
}

void Loop::Impl::destroy(Fiber& fiber) {
  (fiber.newer != nullptr ? fiber.newer->older : fibers) = fiber.older;
  if (fiber.older != nullptr) fiber.older->newer = fiber.newer;
  --fiber_count;
  sanitizer_delete_fiber(fiber.sanitizer);
  const Stack kind = fiber.kind;
  const StackMemory memory = fiber.memory;
  fiber.~Fiber();
  stacks.give_back(kind, memory);
}

Woke Loop::Impl::suspend(Deadline deadline, Cancel cancel) {
  MR_ASSERT(running != nullptr);
  Fiber& self = *running;
  if (canceled && cancel == Cancel::allowed) return Woke::canceled;
  self.woke = Woke::not_yet;
  self.suspended = true;
  self.cancelable = cancel == Cancel::allowed;
  if (deadline.at != TimePoint::max()) {
    self.at = deadline.at;
    timers.insert(self);
  }
  switch_to_caller(self);
  return self.woke;
}

void Loop::Impl::wake(Fiber& fiber, Woke why) {
  if (!fiber.suspended || fiber.woke != Woke::not_yet) return;
  fiber.woke = why;
  timers.erase(fiber);
  make_ready(fiber);
}

void Loop::Impl::make_ready(Fiber& fiber) {
  fiber.next_ready = nullptr;
  (ready_first == nullptr ? ready_first : ready_last->next_ready) = &fiber;
  ready_last = &fiber;
}

// Several rounds at once, because a turn costs a system call; but not without end, so that fibers which
// keep waking each other leave sockets and timers their turn.
void Loop::Impl::run_ready() {
  constexpr int kRounds = 16;
  for (int round = 0; round < kRounds && ready_first != nullptr; ++round) {
    Fiber* next = std::exchange(ready_first, nullptr);
    Fiber* const last = std::exchange(ready_last, nullptr);
    while (next != nullptr) {
      Fiber& fiber = *next;
      next = next == last ? nullptr : fiber.next_ready;
      resume(fiber);
    }
  }
}

void Loop::Impl::cancel_all() {
  canceled = true;
  for (Fiber* fiber = fibers; fiber != nullptr; fiber = fiber->older) {
    if (fiber->cancelable) wake(*fiber, Woke::canceled);
  }
}

// --- timers -------------------------------------------------------------------------------------

void Loop::Impl::fire_timers() {
  if (timers.empty()) return;
  const TimePoint now = SteadyClock::now();
  while (!timers.empty() && timers.first().at <= now) {
    TimerEntry& due = timers.first();
    timers.erase(due);
    guarded([&due] { due.fire(due); });
  }
}

// --- the watchdog -------------------------------------------------------------------------------

Watch::~Watch() {
  if (schedstat_ >= 0) ::close(schedstat_);
}

// How long this thread has waited for a processor so far: on a busy machine that is no fault of the loop's.
std::chrono::nanoseconds Watch::waited() const {
  char text[96];
  const ssize_t size = ::pread(schedstat_, text, sizeof text - 1, 0);
  if (size <= 0) return {};
  text[size] = '\0';
  unsigned long long ran = 0, waited = 0;
  return std::sscanf(text, "%llu %llu", &ran, &waited) == 2 ? std::chrono::nanoseconds(waited) : std::chrono::nanoseconds();
}

void Watch::begin() {
  started_ = SteadyClock::now();
  if (started_ - looked_ > kLag / 2) {   // seldom enough to cost nothing
    if (looked_ == TimePoint()) schedstat_ = ::open("/proc/thread-self/schedstat", O_RDONLY | O_CLOEXEC);
    looked_ = started_;
    waited_ = waited();
  }
  worst_ = {};
  culprit_[0] = '\0';
}

const char* Watch::swap_holder(const char* name) {
  if (*holder_ != '\0' || *name != '\0') {
    const TimePoint now = coarse_now();   // against 100 ms: the tick will do, and it is asked for at each call of a plugin
    if (*holder_ != '\0' && now - holder_since_ > worst_) {
      worst_ = now - holder_since_;
      // Only what can be blamed at the end is worth a copy.
      if (worst_ > kLag / 2) *fmt::format_to_n(culprit_, sizeof culprit_ - 1, "{}", holder_).out = '\0';
    }
    holder_since_ = now;
  }
  return std::exchange(holder_, name);
}

void Watch::end(const log::Logger& logger) {
  auto lag = SteadyClock::now() - started_;
  if (lag < kLag) return;
  lag -= std::chrono::duration_cast<SteadyClock::duration>(waited() - waited_);
  if (lag < kLag) return;
  const bool foreign = *culprit_ != '\0' && worst_ * 2 > lag;
  logger.warning(fmt::format("event loop held for {} ms by {}",
                             std::chrono::duration_cast<std::chrono::milliseconds>(lag).count(),
                             foreign ? culprit_ : "the core"));
}

LoopHolder::LoopHolder(const char* name)
    : previous_(this_loop == nullptr ? "" : here().watch.swap_holder(name)) {}

LoopHolder::~LoopHolder() {
  if (this_loop != nullptr) here().watch.swap_holder(previous_);
}

// --- scheduler.h --------------------------------------------------------------------------------

Fiber* running_fiber() { return this_loop == nullptr ? nullptr : this_loop->impl().running; }
Woke suspend(Deadline deadline, Cancel cancel) { return here().suspend(deadline, cancel); }
void wake(Fiber& fiber) { fiber.loop->wake(fiber, Woke::event); }
bool loop_canceled() { return here().canceled; }
void start_timer(TimerEntry& entry) { here().timers.insert(entry); }
void stop_timer(TimerEntry& entry) { here().timers.erase(entry); }
bool watch_descriptor(int fd, std::uint32_t events, Polled& polled, bool fresh) {
  epoll_event event{};
  event.events = events;
  event.data.ptr = &polled;
  return epoll_ctl(here().epoll, fresh ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, fd,
                   &event) == 0;
}
void unwatch_descriptor(
    int fd) {  // explicitly: a duplicate in another process would keep it in the set
  if (this_loop != nullptr) epoll_ctl(here().epoll, EPOLL_CTL_DEL, fd, nullptr);
}
void keep_this_round(std::shared_ptr<void> polled) {
  if (this_loop != nullptr && here().reporting) here().kept.push_back(std::move(polled));
}
std::shared_ptr<Remote> remote_of_loop() { return here().remote; }

tl::unexpected<Error> wait_failure(Woke woke) {
  return woke == Woke::canceled ? fail(Errc::canceled, "canceled")
                                : fail(Errc::timeout, "timed out");
}

void on_loop_stack_erased(void (*call)(void*), void* argument) {
  Fiber* self = running_fiber();
  if (self == nullptr) return call(argument);
  self->loop_call = call;
  self->loop_call_argument = argument;
  self->loop->switch_to_caller(*self);
}

}  // namespace millrace::net
