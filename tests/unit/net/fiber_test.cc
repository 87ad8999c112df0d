#include "core/net/fiber.h"
#include "core/net/nested.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>

#include "tests/support/on_loop.h"

using namespace millrace;
using namespace millrace::net;
using namespace std::chrono_literals;
using millrace::test::on_loop;

TEST_CASE("net fiber: starts from the loop, not inside spawn", "[net][fiber]") {
  Loop loop;
  std::string order;
  REQUIRE(loop.spawn(Stack::session, [&] {
    CHECK(in_fiber());
    order += "b";
    loop.stop();
  }));
  order += "a";
  CHECK(loop.fibers() == 1);
  CHECK_FALSE(in_fiber());
  loop.run();
  CHECK(order == "ab");
  CHECK(loop.fibers() == 0);
}

TEST_CASE("net nested: begins at once, and goes on as a fiber when it waits", "[net][fiber]") {
  std::string said;
  on_loop([&] {
    net::Event go;
    CHECK(*net::run_nested(net::Stack::plugin, [&] { said += net::in_fiber() ? "a" : "?"; }));
    CHECK_FALSE(*net::run_nested(net::Stack::plugin, [&] {
      said += "b";
      REQUIRE(*net::run_nested(net::Stack::plugin, [&] { said += "c"; }));   // in each other
      CHECK(go.wait(Deadline::never()));
      said += "e";
      throw std::runtime_error("test");
    }));
    said += "d";
    go.set();
    CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(1))));
    said += "f";
    // The one that waited is one of those that stay: used again, and what it threw is gone.
    for (int i = 0; i < 100; ++i) CHECK(*net::run_nested(net::Stack::plugin, [&] { CHECK(std::uncaught_exceptions() == 0); }));
    CHECK(net::offload([] { return 7; }) == 7);
    bool done = false;
    CHECK_FALSE(*net::run_nested(net::Stack::plugin, [&] { done = net::offload([] { return true; }); }));
    while (!done) CHECK(net::sleep_until(Deadline::after(std::chrono::milliseconds(1))));
  });
  CHECK(said == "abcdef");
}

TEST_CASE("net fiber: an exception ends the fiber alone", "[net][fiber]") {
  Loop loop;
  bool other = false;
  REQUIRE(loop.spawn(Stack::session, [] { throw std::runtime_error("test"); }));
  REQUIRE(loop.spawn(Stack::session, [&] {
    other = true;
    loop.stop();
  }));
  loop.run();
  CHECK(other);
}

// The rule forbids it, the switch survives it: 100 handlers that wait inside of their catch block.
TEST_CASE("net fiber: interleaved catch blocks keep their exceptions", "[net][fiber]") {
  Loop loop;
  int right = 0, ended = 0;
  for (int i = 0; i < 100; ++i) {
    REQUIRE(loop.spawn(Stack::session, [&, i] {
      try {
        throw std::runtime_error(std::to_string(i) + " is long enough to live on the heap");
      } catch (const std::exception&) {
        (void)sleep_until(Deadline::after(std::chrono::milliseconds((i * 7) % 13)));
        try {
          throw;
        } catch (const std::exception& again) {
          if (again.what() == std::to_string(i) + " is long enough to live on the heap") ++right;
        }
      }
      if (++ended == 100) loop.stop();
    }));
  }
  loop.run();
  CHECK(right == 100);
}

TEST_CASE("net event: set before wait returns at once, and reset makes it wait", "[net][event]") {
  on_loop([] {
    Event event;
    event.set();
    CHECK(event.wait(Deadline::never()));
    CHECK(event.wait(Deadline::never()));
    event.reset();
    const Result<void> waited = event.wait(Deadline::after(5ms));
    REQUIRE_FALSE(waited);
    CHECK(waited.error().code == Errc::timeout);
    CHECK(Loop::current().spawn(Stack::session, [&] { event.set(); }));
    CHECK(event.wait(Deadline::after(5s)));
  });
}

TEST_CASE("net event: a notifier works from another thread and after the event", "[net][event]") {
  std::function<void()> late, later;
  on_loop([&] {
    {
      Event event;
      std::thread thread([notify = event.notifier()] { notify(); });
      CHECK(event.wait(Deadline::after(5s)));
      thread.join();
      late = event.notifier();
    }
    late();
    (void)sleep_until(Deadline::after(2ms));
    Event other;
    later = other.notifier();
  });
  later();  // the loop is gone, too
}

TEST_CASE("net deadline: fire in order, never early", "[net][deadline]") {
  Loop loop;
  std::vector<int> order;
  const TimePoint start = SteadyClock::now();
  for (const int ms : {30, 5, 20, 10, 1, 25}) {
    REQUIRE(loop.spawn(Stack::session, [&, ms] {
      CHECK(sleep_until({start + std::chrono::milliseconds(ms)}));
      CHECK(SteadyClock::now() >= start + std::chrono::milliseconds(ms));
      order.push_back(ms);
      if (order.size() == 6) loop.stop();
    }));
  }
  loop.run();
  CHECK(order == std::vector<int>{1, 5, 10, 20, 25, 30});
}

TEST_CASE("net deadline: one that passed before the wait fires at once", "[net][deadline]") {
  on_loop([] {
    Event event;
    const Result<void> waited = event.wait(Deadline{SteadyClock::now() - 1s});
    REQUIRE_FALSE(waited);
    CHECK(waited.error().code == Errc::timeout);
  });
}

TEST_CASE("net deadline: thousands that come and go leave the rest exact", "[net][deadline]") {
  Loop loop;
  const int all = 300;
  int left = all, late = 0;
  for (int i = 0; i < all; ++i) {
    REQUIRE(loop.spawn(Stack::session, [&, i] {
      for (int round = 0; round < 10; ++round) {
        const Deadline at =
            Deadline::after(std::chrono::microseconds((i * 7919 + round * 104729) % 5000));
        CHECK(sleep_until(at));
        if (SteadyClock::now() < at.at) ++late;
      }
      if (--left == 0) loop.stop();
    }));
  }
  loop.run();
  CHECK(late == 0);
}

TEST_CASE("net gate: lets in by order of arrival, and a time-out gives its place up",
          "[net][gate]") {
  Loop loop;
  Gate gate(2);
  std::string order;
  const auto holder = [&](char name, std::chrono::milliseconds hold, Deadline deadline) {
    REQUIRE(loop.spawn(Stack::session, [&, name, hold, deadline] {
      if (gate.enter(deadline)) {
        order += name;
        (void)sleep_until(Deadline::after(hold));
        gate.leave();
      } else {
        order += static_cast<char>(name - 'a' + 'A');
      }
    }));
  };
  holder('a', 20ms, Deadline::never());
  holder('b', 40ms, Deadline::never());
  holder('c', 1ms, Deadline::after(5ms));
  holder('d', 1ms, Deadline::never());
  holder('e', 1ms, Deadline::never());
  REQUIRE(loop.spawn(Stack::session, [&] {
    (void)sleep_until(Deadline::after(80ms));
    loop.stop();
  }));
  loop.run();
  CHECK(order == "abCde");
  CHECK(gate.inside() == 0);
}

TEST_CASE("net offload: the loop goes on while the work runs", "[net][offload]") {
  Loop loop;
  int ticks = 0;
  bool done = false;
  REQUIRE(loop.spawn(Stack::session, [&] {
    const std::thread::id loop_thread = std::this_thread::get_id();
    const int answer = offload([&] {
      std::this_thread::sleep_for(30ms);
      CHECK(std::this_thread::get_id() != loop_thread);
      return 42;
    });
    CHECK(answer == 42);
    CHECK_THROWS_AS(offload([] { throw std::bad_alloc(); }), std::bad_alloc);
    done = true;
    loop.stop();
  }));
  REQUIRE(loop.spawn(Stack::session, [&] {
    while (!done) {
      (void)sleep_until(Deadline::after(1ms));
      ++ticks;
    }
  }));
  loop.run();
  CHECK(ticks > 3);
}

TEST_CASE("net offload: many at once all come back", "[net][offload]") {
  Loop loop;
  std::atomic<int> ran{0};
  int back = 0;
  for (int i = 0; i < 300; ++i) {
    REQUIRE(loop.spawn(Stack::session, [&] {
      offload([&] { ++ran; });
      if (++back == 300) loop.stop();
    }));
  }
  loop.run();
  CHECK(ran == 300);
}

TEST_CASE("net cancel_all: wakes every waiter, and each later wait fails at once",
          "[net][cancel]") {
  Loop loop;
  int canceled = 0, offloaded = 0;
  std::atomic<bool> told = false;
  for (int i = 0; i < 50; ++i) {
    REQUIRE(loop.spawn(Stack::session, [&] {
      Event event;
      if (auto waited = event.wait(Deadline::never());
          !waited && waited.error().code == Errc::canceled) {
        ++canceled;
      }
      if (auto slept = sleep_until(Deadline::after(1h));
          !slept && slept.error().code == Errc::canceled) {
        ++canceled;
      }
    }));
  }
  REQUIRE(loop.spawn(Stack::session, [&] {  // work on the pool is waited for all the same
    int local = 0;
    offload([&] {
      while (!told) std::this_thread::sleep_for(1ms);
      std::this_thread::sleep_for(20ms);
      local = 1;
    });
    offloaded = local;
    loop.stop();
  }));
  REQUIRE(loop.spawn(Stack::session, [&] {
    (void)sleep_until(Deadline::after(1ms));
    loop.cancel_all();
    told = true;
  }));
  loop.run();
  CHECK(canceled == 100);
  CHECK(offloaded == 1);
  CHECK(loop.fibers() == 0);
}

TEST_CASE("net loop: its end tells suspended fibers to go", "[net][loop]") {
  bool told = false;
  {
    Loop loop;
    REQUIRE(loop.spawn(Stack::session, [&] {
      Event event;
      told = !event.wait(Deadline::never());
    }));
    loop.post([&] { loop.stop(); });
    loop.run();
  }
  CHECK(told);
}

TEST_CASE("net loop: post from other threads, stop before run", "[net][loop]") {
  Loop loop;
  loop.stop();
  loop.run();
  int seen = 0;
  std::thread thread([&] {
    for (int i = 0; i < 1000; ++i) loop.post([&] { ++seen; });
    loop.post([&] { loop.stop(); });
  });
  loop.run();
  thread.join();
  CHECK(seen == 1000);
}

TEST_CASE("net loop: works in a forked child", "[net][loop]") {
  Loop parents;
  on_loop([] { offload([] {}); });  // the parent's pool threads do not exist in the child
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    alarm(20);
    int ok = 0;
    {
      Loop loop;
      (void)loop.spawn(Stack::session, [&] {
        if (sleep_until(Deadline::after(2ms))) ++ok;
#ifdef __SANITIZE_THREAD__  // which does not know threads that start after a fork
        ++ok;
#else
        if (offload([] { return 1; }) == 1) ++ok;
#endif
        loop.stop();
      });
      loop.run();
    }
    _exit(ok == 2 ? 0 : 1);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

TEST_CASE("net stacks: thousands of fibers at once, reused", "[net][fiber]") {
#ifdef __SANITIZE_THREAD__
  constexpr int kFibers = 200;  // each costs TSan half a megabyte
#else
  constexpr int kFibers = 5000;
#endif
  Loop loop;
  for (int round = 0; round < 2; ++round) {
    int ended = 0;
    for (int i = 0; i < kFibers; ++i) {
      REQUIRE(loop.spawn(Stack::session, [&] {
        (void)sleep_until(Deadline::after(1ms));
        if (++ended == kFibers) loop.stop();
      }));
    }
    loop.run();
    CHECK(ended == kFibers);
  }
}

TEST_CASE("net holder: nests across suspension", "[net][loop]") {
  on_loop([] {
    const LoopHolder outer("plugin a");
    (void)sleep_until(Deadline::after(1ms));
    const LoopHolder inner("plugin b");
    (void)sleep_until(Deadline::after(1ms));
  });
}

TEST_CASE("net holder: a loop that was held is reported with who held it", "[net][loop]") {
  int pipe_fds[2];
  REQUIRE(pipe(pipe_fds) == 0);
  const int saved = dup(2);
  REQUIRE(dup2(pipe_fds[1], 2) == 2);  // where lines go before log::open()
  on_loop([] {
    auto name = std::make_unique<std::string>("plugin slow, with a name long enough to be on the heap");
    {
      const LoopHolder holder(name->c_str());
      std::this_thread::sleep_for(130ms);
    }
    name.reset();  // gone before the turn that is reported ends
    (void)sleep_until(Deadline::after(1ms));
  });
  REQUIRE(dup2(saved, 2) == 2);
  close(saved);
  close(pipe_fds[1]);
  char text[1024];
  const ssize_t n = read(pipe_fds[0], text, sizeof text);
  close(pipe_fds[0]);
  REQUIRE(n > 0);
  CHECK(std::string(text, static_cast<std::size_t>(n)).find(" ms by plugin slow, with a name") !=
        std::string::npos);
}
