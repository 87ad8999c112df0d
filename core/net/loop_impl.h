// Inside of core/net: the loop's state.
#pragma once

#include <atomic>
#include <boost/context/detail/fcontext.hpp>
#include <memory>
#include <mutex>
#include <vector>

#include <sys/epoll.h>

#include "core/base/log.h"
#include "core/net/scheduler.h"
#include "core/net/stack_pool.h"

namespace millrace::net {

using boost::context::detail::fcontext_t;

// libstdc++'s per-thread exception state (the C++ ABI's __cxa_eh_globals).  It belongs to a stack,
// so it changes with it: interleaved catch blocks corrupt it otherwise.
struct ExceptionState {
  void* caught = nullptr;
  unsigned uncaught = 0;
};

// Lives at the upper end of its own stack: an idle fiber costs one page.
class Fiber : public TimerEntry {
 public:
  fcontext_t context = nullptr;
  Fiber* next_ready = nullptr;
  Fiber *older = nullptr, *newer = nullptr;  // of all fibers of the loop
  Loop::Impl* loop = nullptr;
  std::function<void()> body;
  void (*loop_call)(void*) = nullptr;
  void* loop_call_argument = nullptr;
  ExceptionState exceptions;
  const char* holder = "";
  void* fake_stack = nullptr;
  void* sanitizer = nullptr;
  StackMemory memory;
  Stack kind = Stack::session;
  Woke woke = Woke::not_yet;
  bool suspended = false, cancelable = false, done = false;
  bool stays = false;                         // waits for another body when this one has ended
  bool* ended = nullptr;                      // of run_nested(): set when the body ends
  bool trimmed = false;                       // its unused stack was given back since it last ran
  std::uint32_t runs = 0, runs_seen = 0;      // tells a fiber that has not run since the last look
};

// How long something has run on this loop, and which foreign code it was.
class Watch {
 public:
  static constexpr auto kLag = std::chrono::milliseconds(100);
  Watch() = default;
  ~Watch();
  Watch(const Watch&) = delete;
  void begin();
  void end(const log::Logger& logger);
  const char* swap_holder(const char* name);  // books the time of the one that held so far

 private:
  const char* holder_ = "";
  char culprit_[64] = "";  // a copy: the one that held may be gone, name and all, when its turn ends
  std::chrono::nanoseconds waited() const;
  int schedstat_ = -1;     // of the loop's thread
  TimePoint looked_{};
  std::chrono::nanoseconds waited_{};
  TimePoint started_{}, holder_since_{};
  SteadyClock::duration worst_{};
};

struct Loop::Impl {
  explicit Impl(Loop& owner);
  ~Impl();

  Result<void> spawn(Stack kind, std::function<void()> body);
  Result<bool> run_nested(Stack kind, std::function<void()> body);
  Fiber* make_fiber(Stack kind);
  void park(Fiber& fiber);
  void resume(Fiber& fiber);
  void switch_to_caller(Fiber& fiber);
  Woke suspend(Deadline deadline, Cancel cancel);
  void wake(Fiber& fiber, Woke why);
  void make_ready(Fiber& fiber);
  void run_ready();
  void post(std::function<void()> task);  // [any thread]
  void wake_up();                         // [any thread]
  void turn(TimePoint until);
  int wait(TimePoint until, epoll_event* events, int room);
  void run_tasks();
  void fire_timers();
  void trim_stacks();
  void cancel_all();
  [[noreturn]] static void fiber_main(boost::context::detail::transfer_t from);
  void destroy(Fiber& fiber);

  // Only bad_alloc and our own mistakes get here; they end that task or fiber, with a line in the
  // log.
  template <typename F>
  static void guarded(F&& work) {
    try {
      work();
    } catch (const std::exception& e) {
      report_exception(e.what());
    } catch (...) {
      report_exception("unknown");
    }
  }
  static void report_exception(const char* what);

  struct LoopRemote;

  // One system call per turn: epoll_pwait2 tells what is ready and when the first timer is due.
  int epoll = -1;
  int wake_fd = -1;                       // an eventfd that is never read: each write is an edge
  std::atomic<bool> asleep{false};        // only then does post() need to write to it
  std::mutex tasks_mutex;
  std::vector<std::function<void()>> tasks;
  std::vector<std::shared_ptr<void>> kept;  // descriptors closed in this round of reports
  TimerHeap timers;
  struct Trimmer : TimerEntry {
    Impl* loop = nullptr;
  } trimmer;
  std::atomic<bool> stop_wanted{false};
  StackPool stacks;
  Fiber* running = nullptr;
  Fiber *ready_first = nullptr, *ready_last = nullptr;
  Fiber* fibers = nullptr;
  std::size_t fiber_count = 0;
  bool reporting = false, canceled = false;
  // What the running fiber returns to when it waits or ends: the loop's own stack, or the fiber that runs it (run_nested).
  struct Caller {
    fcontext_t context = nullptr;
    const void* stack = nullptr;
    std::size_t stack_size = 0;
    void* sanitizer = nullptr;
  } caller;
  static constexpr std::size_t kIdle = 32;
  std::vector<Fiber*> idle[3];            // those that stay, by kind of stack
  Watch watch;
  log::Logger logger;
  std::shared_ptr<LoopRemote> remote;
  Loop* outer;  // the thread's loop before this one
};

}  // namespace millrace::net
