// Runs a test's body on a fiber of a loop of its own, until it ends.
#pragma once

#include <catch2/catch.hpp>

#include "core/net/fiber.h"

namespace millrace::test {

inline void on_loop(const std::function<void()>& body, net::Stack stack = net::Stack::lua) {
  net::Loop loop;
  REQUIRE(loop.spawn(stack, [&] {
    body();
    loop.stop();
  }));
  loop.run();
}

}  // namespace millrace::test
