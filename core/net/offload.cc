// The worker pool: four threads for a process, started by the first use.  Work is queued without a
// limit of its own, because each piece belongs to a fiber that stands still, and fibers are
// limited.
#include <pthread.h>

#include <atomic>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <thread>

#include "core/net/scheduler.h"

namespace millrace::net {
namespace {

class Pool {
 public:
  Pool() {
    for (int i = 0; i < kThreads; ++i) std::thread([this] { run(); }).detach();
  }

  void add(std::function<void()> work) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(work));
    }
    wake_.notify_one();
  }

 private:
  static constexpr int kThreads = 4;

  [[noreturn]] void run() {
    pthread_setname_np(pthread_self(), "millrace-work");
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_.wait(lock, [this] { return !queue_.empty(); });
      {
        const std::function<void()> work = std::move(queue_.front());
        queue_.pop_front();
        lock.unlock();
        work();
      }
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::function<void()>> queue_;
};

// Never destroyed: its threads may outlive main.  Threads do not survive a fork, so a child starts
// over.
std::atomic<Pool*> pool{nullptr};
std::once_flag fork_watched;

Pool& the_pool() {
  std::call_once(fork_watched, [] { pthread_atfork(nullptr, nullptr, [] { pool = nullptr; }); });
  Pool* existing = pool;
  if (existing == nullptr) {
    static std::atomic_flag making = ATOMIC_FLAG_INIT;
    while (making.test_and_set(std::memory_order_acquire)) std::this_thread::yield();
    existing = pool;
    if (existing == nullptr) pool = existing = new Pool;
    making.clear(std::memory_order_release);
  }
  return *existing;
}

}  // namespace

void offload_erased(const std::function<void()>& work) {
  Fiber* const self = running_fiber();
  if (self == nullptr) return work();
  bool done = false;  // of the loop's thread alone
  std::exception_ptr thrown;
  the_pool().add([&work, &thrown, &done, self, remote = remote_of_loop()] {
    try {
      work();
    } catch (...) {
      thrown = std::current_exception();
    }
    remote->post([&done, self] {
      done = true;
      wake(*self);
    });
  });
  while (!done) suspend(Deadline::never(), Cancel::ignored);
  if (thrown) std::rethrow_exception(thrown);
}

}  // namespace millrace::net
