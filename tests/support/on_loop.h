// Runs a test's body on a fiber of a loop of its own, until it ends.
#pragma once

#include <catch2/catch.hpp>
#include <exception>

#include "core/net/fiber.h"

namespace millrace::test {

inline void on_loop(const std::function<void()>& body, net::Stack stack = net::Stack::lua) {
  std::exception_ptr thrown;  // a failed REQUIRE must reach Catch on its own stack
  {
    net::Loop loop;
    REQUIRE(loop.spawn(stack, [&] {
      try {
        body();
      } catch (...) {
        thrown = std::current_exception();
      }
      loop.stop();
    }));
    loop.run();
  }
  if (thrown) std::rethrow_exception(thrown);
}

// The same, and lets fibers that the body started at its end (farewells, closes) have their turn.
inline void on_loop_to_end(const std::function<void()>& body) {
  on_loop([&] {
    body();
    (void)net::sleep_until(Deadline::after(std::chrono::milliseconds(5)));
  });
}

}  // namespace millrace::test
